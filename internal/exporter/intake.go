package exporter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"ci-jobs-metrics/internal/exporter/file"
	"ci-jobs-metrics/internal/job"
)

// An Item is one finished job as it is sent.
type Item struct {
	ID   string          // under which the receiver counts it once
	Name string          // for the log
	JSON json.RawMessage // an object of the wire, complete

	file string // of a directory: which file it is from
	key  uint64 // in that file

	without []string // fields that were too long
}

// maxSeen bounds what is remembered of items that were taken. Forgetting costs
// requests, not counts: the receiver knows the ids.
const maxSeen = 100_000

// An Intake turns what the file holds into items to send: it leaves out jobs of
// others and what was taken before, fills in what the file doesn't say, and gives
// each item the id that it would get again after a restart.
type Intake struct {
	env      Environ
	log      *slog.Logger
	identity string // of the first file that had items of ours; a rewrite by mv doesn't change it
	stale    []byte // text of a file that was another job's, for as long as only appended to
	seen     map[[sha256.Size]byte]bool
	settled  func(key uint64) bool // says what was delivered before this Intake was made; nil: nothing
}

// NewIntake returns an Intake that fills in from the environment.
func NewIntake(env Environ, log *slog.Logger) *Intake {
	return &Intake{env: env, log: log, seen: make(map[[sha256.Size]byte]bool)}
}

// Take returns the items of the content that were not taken before. ours is how
// many of its items are about this job, taken before or not.
func (in *Intake) Take(c *file.Content) (fresh []Item, ours int) {
	if len(in.seen) > maxSeen {
		clear(in.seen)
	}
	if !bytes.HasPrefix(c.Text, in.stale) || len(c.Text) == len(in.stale) {
		in.stale = nil // rewritten: judge it again
	}
	count := newCounter()
	for _, item := range c.Items {
		f, err := parseFields(item.JSON)
		if err != nil { // can't be: file.Parse gives JSON objects
			continue
		}
		content := f.canonical()
		if in.leftOver(f, c, item) {
			in.logLeftOver(f, content, c.Modified)
			continue
		}
		if ours++; in.identity == "" {
			in.identity = c.Identity
		}
		sent := in.item(f, content, c.Modified, count)
		if key, first := in.first(sent.ID, content); first {
			sent.key = key
			fresh = append(fresh, sent)
			if len(sent.without) > 0 {
				in.log.Warn("fields are left out because they are too long", "name", sent.Name, "fields", strings.Join(sent.without, " "))
			}
		}
	}
	if ours == 0 && len(c.Items) > 0 {
		in.stale = bytes.Clone(c.Text)
	}
	return fresh, ours
}

// Missing returns the item that reports the job as unknown, because it ended without a readable file.
// Its id is the one that the first item of the file would have had, so a later report is a duplicate.
// ok is false if the job's name or project is not known.
func (in *Intake) Missing(now time.Time) (item Item, ok bool) {
	f := fields{}
	f.set("status", string(job.Unknown))
	content := f.canonical()
	item = in.item(f, content, now, newCounter())
	return item, f.says("name") && f.says("project")
}

// item completes f and gives it its id.
func (in *Intake) item(f fields, content []byte, modified time.Time, count *counter) Item {
	without := f.shorten()
	f.fill(in.env, modified)
	id := in.id(f, content, count)
	if !f.says("id") {
		f.set("id", id)
	}
	return Item{ID: id, Name: f.text("name"), JSON: f.wire(), without: without}
}

// first reports whether the content was never taken under that id, and remembers
// that it now is. key stands for the two.
func (in *Intake) first(id string, content []byte) (key uint64, first bool) {
	sum := sha256.Sum256(append([]byte(id+"\x00"), content...))
	key = binary.BigEndian.Uint64(sum[:])
	if in.seen[sum] || in.settled != nil && in.settled(key) {
		return key, false
	}
	in.seen[sum] = true
	return key, true
}

// leftOver reports whether the item is about another job, whose file is still
// there because the directory outlived it. job_id decides where both sides know
// it; then when the item's job started; then when the file was written. Where
// nothing is known, the item is taken for ours.
func (in *Intake) leftOver(f fields, c *file.Content, item file.Item) bool {
	theirs, ours := f.known("job_id"), in.env.value("CI_JOB_ID")
	if theirs != "" && ours != "" {
		return theirs != ours
	}
	started, err := job.ParseTime(in.env.value("CI_JOB_STARTED_AT"))
	if err != nil {
		return false
	}
	if at, err := job.ParseTime(f.known("started")); err == nil && at.Equal(started) {
		return false
	}
	// Lines that were there before the job appended its own don't become its own.
	return c.Modified.Before(started) || item.Start < len(in.stale)
}

func (in *Intake) logLeftOver(f fields, content []byte, modified time.Time) {
	if _, first := in.first("left over", content); first {
		in.log.Warn("ignored: it is about another job", "name", f.text("name"), "job_id", f.text("job_id"),
			"written", modified.UTC().Format(time.RFC3339), "this_job", in.env.value("CI_JOB_ID"))
	}
}
