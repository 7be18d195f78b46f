package rollup

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"ci-jobs-metrics/internal/job"
)

// retries remember failed jobs for a while, to know a success that is another try of the
// same job for the same commit: a failure that the code was not to blame for.
type retries struct {
	failures map[uint64]int // place in queue
	queue    []failure      // in the order of rows
	gone     int            // how many have left the front of queue; places count them
}

// A failure is one job, with those of the same commit before it.
type failure struct {
	hash   uint64 // of template, project, commit and GitLab's name of the job
	slot   Slot   // when it finished
	micros int64  // what it took, and those before it
}

const (
	// retryWithin is how long after a failure a success counts as another try of it.
	retryWithin = Slot(24 * time.Hour / SlotLength)
	// maxFailures is how many failures are remembered. With more than this many a day the
	// oldest are forgotten, in the order of rows, so that a replay forgets the same.
	maxFailures = 50_000
)

func newRetries() retries { return retries{failures: map[uint64]int{}} }

// see takes note of a job, and says whether it is a success after a failure, and how long
// those failures had taken, in microseconds.
func (r *retries) see(j *job.Job, slot Slot) (again bool, wasted int64) {
	success := j.Status == job.Success
	if j.SHA == "" || !success && !IsFailure(j.Status) {
		return false, 0
	}
	hash := hashOf(j)
	at, known := r.failures[hash]
	var before failure
	if known {
		before = r.queue[at-r.gone]
		known = slot-before.slot <= retryWithin && before.slot-slot <= retryWithin
	}
	if success {
		delete(r.failures, hash)
		return known, before.micros
	}
	f := failure{hash: hash, slot: slot}
	if known {
		f.micros = before.micros
	}
	if j.Timed {
		f.micros += j.Duration.Microseconds()
	}
	r.push(f)
	return false, 0
}

func (r *retries) push(f failure) {
	r.failures[f.hash] = r.gone + len(r.queue)
	r.queue = append(r.queue, f)
	if len(r.queue) <= maxFailures {
		return
	}
	first := r.queue[0].hash
	if at, ok := r.failures[first]; ok && at == r.gone {
		delete(r.failures, first)
	}
	r.queue = r.queue[1:]
	r.gone++
}

// hashOf is FNV-1a, which is the same in every process.
func hashOf(j *job.Job) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	name := j.Job
	if name == "" {
		name = j.Name
	}
	for _, text := range [...]string{j.Name, name, j.Project, j.SHA} {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * prime
		}
		h = (h ^ 0xff) * prime // no text has this byte
	}
	return h
}

// append writes all failures.
func (r *retries) append(to []byte) []byte {
	to = append(to, format)
	to = binary.AppendUvarint(to, uint64(len(r.queue)))
	for i, f := range r.queue {
		if at, ok := r.failures[f.hash]; !ok || at != r.gone+i {
			f.hash = 0 // a success took it, or a later failure; it keeps its place in the queue
		}
		to = binary.BigEndian.AppendUint64(to, f.hash)
		if f.hash != 0 {
			to = binary.AppendUvarint(to, uint64(f.slot))   //nolint:gosec // not negative
			to = binary.AppendUvarint(to, uint64(f.micros)) //nolint:gosec // not negative
		}
	}
	return to
}

// load reads them again.
func (r *retries) load(from []byte) error {
	*r = newRetries()
	if len(from) == 0 {
		return nil
	}
	in := &reader{b: from}
	in.begin()
	for n := in.number(maxFailures); n > 0 && in.err == nil; n-- {
		var f failure
		if b := in.bytes(8); in.err == nil {
			f.hash = binary.BigEndian.Uint64(b)
		}
		if f.hash != 0 {
			f.slot = Slot(in.number(math.MaxInt32))    //nolint:gosec // within the limit
			f.micros = int64(in.number(math.MaxInt64)) //nolint:gosec // within the limit
		}
		r.push(f)
	}
	delete(r.failures, 0)
	if in.err == nil && in.at != len(from) {
		in.fail("something that does not belong there")
	}
	if in.err != nil {
		return errors.Join(errors.New("the failures that the roll-ups remember are damaged"), in.err)
	}
	return nil
}
