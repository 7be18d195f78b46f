// Package steps is the wire of /steps: what senders say of finished jobs comes in
// as a query, a form, a JSON object, an array or NDJSON; an [Answer] goes out, or a
// [ProblemDetails] if nothing was recorded.
//
// The handler decodes, lets package job check each item, hands the good ones to
// whoever records them (the receiver passes its ledger), and answers only when they
// are durable. A bad item costs itself, never its neighbours; bad input is never
// the server's error. Package client is the other end of the same wire.
package steps

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ci-jobs-metrics/internal/job"
)

// A Recorder makes jobs durable. It returns how many of them count from now on;
// the others counted before. After an error none of them is recorded, and the
// sender should try again.
type Recorder func(received time.Time, jobs []job.Job) (recorded int, err error)

// Options say how a Handler works. All but Observe, Found and Refused are needed.
type Options struct {
	Record    Recorder
	Retention time.Duration // how long jobs are kept; see job.Report.Check
	Now       func() time.Time
	// Observe, if set, is told what was wrong with the items of a request that could
	// be read, after the others were recorded.
	Observe func(Tally)
	// Found, if set, is told the same in detail, with the host that the request came from,
	// but only if anything was wrong.
	Found func(sender string, found []Finding)
	// Refused, if set, is told of every request of which nothing was looked at: it
	// could not be read, or must not count.
	Refused func(Refusal)
}

// A Tally is how often each reason was given.
type Tally struct{ Warned, Rejected map[job.Reason]int }

// Handler serves [Path].
func Handler(o Options) http.Handler {
	if o.Observe == nil {
		o.Observe = func(Tally) {}
	}
	if o.Found == nil {
		o.Found = func(string, []Finding) {}
	}
	if o.Refused == nil {
		o.Refused = func(Refusal) {}
	}
	room := newBudget(MaxInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = noStore
		c := claim{from: room}
		defer c.release()
		answer, err := o.serve(w, r, &c)
		if err != nil {
			writeProblem(w, err)
			return
		}
		writeAnswer(w, &answer)
	})
}

// errNothingGood says that every item of a request was rejected.
type errNothingGood struct{ answer Answer }

func (*errNothingGood) Error() string {
	return "no job of the request can be recorded: see rejected for what to send instead"
}

func (o *Options) serve(w http.ResponseWriter, r *http.Request, c *claim) (Answer, error) {
	body, err := read(w, r, c)
	if err != nil {
		return Answer{}, o.refused(r, err)
	}
	found, err := o.examine(r, body, c)
	if err != nil {
		return Answer{}, o.refused(r, err)
	}
	answer, jobs := found.answer, found.jobs
	if len(jobs) == 0 && found.items > 0 {
		o.observe(r, &found)
		return Answer{}, &errNothingGood{answer}
	}
	if len(jobs) > 0 {
		if answer.Recorded, err = o.Record(found.received, jobs); err != nil {
			return Answer{}, &unavailable{err}
		}
		answer.Duplicates = len(jobs) - answer.Recorded
	}
	o.observe(r, &found)
	return answer, nil
}

// An examination is what a request was found to bring.
type examination struct {
	items    int
	jobs     []job.Job // of the good items
	received time.Time
	answer   Answer // with what is wrong with the others
	tally    Tally
	summary  summary // of the same
}

// examine reads and checks the items of a request, when it is its turn.
func (o *Options) examine(r *http.Request, body []byte, c *claim) (found examination, err error) {
	defer c.turn(len(body))()
	items, err := decode(r, body, c)
	if err != nil {
		return found, err
	}
	found.items, found.received = len(items), o.Now()
	found.check(items, o.Retention)
	return found, nil
}

// observe tells what was wrong with the items of a request.
func (o *Options) observe(r *http.Request, found *examination) {
	o.Observe(found.tally)
	if len(found.summary.found) > 0 {
		o.Found(sender(r), found.summary.found)
	}
}

// refused tells the error of a request that can't be read, a *requestError, and
// returns it.
func (o *Options) refused(r *http.Request, err error) error {
	if refusal := (*requestError)(nil); errors.As(err, &refusal) {
		o.Refused(Refusal{Status: refusal.status, Detail: refusal.detail, Sender: sender(r)})
	}
	return err
}

// read returns the body of a request that is to count. Its error is a *requestError.
func read(w http.ResponseWriter, r *http.Request, c *claim) ([]byte, error) {
	if err := refuse(w, r); err != nil || r.Method == http.MethodGet {
		return nil, err
	}
	return readBody(w, r, c)
}

// refuse turns requests away that must not count: methods that aren't meant to,
// and what a browser sends without a person wanting it.
func refuse(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		return &requestError{http.StatusMethodNotAllowed, "send jobs with GET or POST"}
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return &requestError{http.StatusForbidden, "a page of another site can't record jobs"}
	}
	for _, header := range prefetchHeaders {
		if purpose := r.Header.Get(header); purpose != "" && strings.Contains(strings.ToLower(purpose), "prefetch") {
			return &requestError{http.StatusForbidden, "a prefetch can't record jobs"}
		}
	}
	return nil
}

// prefetchHeaders are where browsers say that nobody asked for a page yet.
var prefetchHeaders = [...]string{"Purpose", "Sec-Purpose", "X-Purpose", "X-Moz"}

// check sorts items into jobs to record and an answer that says what is wrong with
// the others.
func (e *examination) check(items []item, retention time.Duration) {
	warned, rejected := findings{listed: []job.Problem{}}, findings{listed: []job.Problem{}}
	good := 0
	for i := range items {
		if len(items[i].problems) == 0 {
			good++
		}
	}
	e.jobs = make([]job.Job, 0, good)
	for i := range items {
		report := &items[i].report
		reject := func(problems []job.Problem) {
			rejected.add(i, problems)
			e.summary.add(true, report, problems)
		}
		if len(items[i].problems) > 0 {
			reject(items[i].problems)
			continue
		}
		verdict := report.Check(e.received, retention)
		if !verdict.Accepted() {
			reject(verdict.Rejections)
			continue
		}
		for _, problems := range [...][]job.Problem{items[i].warnings, verdict.Warnings} {
			warned.add(i, problems)
			e.summary.add(false, report, problems)
		}
		e.jobs = append(e.jobs, verdict.Job)
	}
	e.answer = Answer{Warnings: warned.listed, Rejected: rejected.listed, Unlisted: warned.unlisted + rejected.unlisted}
	e.tally = Tally{Warned: warned.counts, Rejected: rejected.counts}
}

// findings are the problems of a request's items: all counted, the first listed.
type findings struct {
	listed   []job.Problem // never nil: answers have it as an array
	unlisted int
	counts   map[job.Reason]int // nil if there are none
}

// add takes the problems of the item with the given index.
func (f *findings) add(index int, problems []job.Problem) {
	if len(problems) > 0 && f.counts == nil {
		f.counts = map[job.Reason]int{}
	}
	for _, p := range problems {
		f.counts[p.Reason]++
		if len(f.listed) == maxListed {
			f.unlisted++
			continue
		}
		p.Index = index
		f.listed = append(f.listed, p)
	}
}

// unavailable wraps the error of a Recorder.
type unavailable struct{ err error }

func (e *unavailable) Error() string {
	return "nothing was recorded, try again: " + e.err.Error()
}

// retryAfter is what a sender is asked to wait, in seconds: the queue empties in
// less.
const retryAfter = "1"

// Unavailable answers a request to [Path] without looking at it: nothing of it was
// recorded for the given reason, and it is to be sent again.
func Unavailable(w http.ResponseWriter, reason error) {
	w.Header()["Cache-Control"] = noStore
	writeProblem(w, &unavailable{reason})
}

// writeProblem is the one place where an error becomes a status.
func writeProblem(w http.ResponseWriter, err error) {
	p := ProblemDetails{Type: "about:blank", Status: http.StatusInternalServerError, Detail: err.Error()}
	var (
		request *requestError
		nothing *errNothingGood
		busy    *unavailable
	)
	switch {
	case errors.As(err, &request):
		p.Status = request.status
		if p.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", retryAfter)
		}
	case errors.As(err, &nothing):
		p.Status = http.StatusBadRequest
		p.Rejected, p.Unlisted = nothing.answer.Rejected, nothing.answer.Unlisted
	case errors.As(err, &busy):
		p.Status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", retryAfter)
	}
	p.Title = http.StatusText(p.Status)
	writeJSON(w, p.Status, typeProblem, p)
}

// Values of headers that are always the same; net/http copies them.
var (
	noStore  = []string{"no-store"}
	noSniff  = []string{"nosniff"}
	jsonType = []string{TypeJSON}
)

// writeAnswer writes what nearly every sender gets, that all its jobs count, without
// the detour over encoding/json.
func writeAnswer(w http.ResponseWriter, a *Answer) {
	if len(a.Warnings) > 0 || len(a.Rejected) > 0 {
		writeJSON(w, http.StatusOK, TypeJSON, a)
		return
	}
	body := make([]byte, 0, 80)
	body = strconv.AppendInt(append(body, `{"recorded":`...), int64(a.Recorded), 10)
	body = strconv.AppendInt(append(body, `,"duplicates":`...), int64(a.Duplicates), 10)
	body = append(body, `,"warnings":[],"rejected":[]}`+"\n"...)
	header := w.Header()
	header["Content-Type"], header["X-Content-Type-Options"] = jsonType, noSniff
	_, _ = w.Write(body) // a sender that is gone retries
}

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)              // remedies are for people to read
	if err := encoder.Encode(v); err != nil { // can't be: the types hold nothing that JSON doesn't
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a sender that is gone retries
}
