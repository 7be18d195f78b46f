package receiver

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
)

// job leads from the id of a recorded job to the job's own page. All that it says itself
// is plain text: names of jobs and projects are whatever senders send.
func (r *Receiver) job(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	id, err := askedID(req.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error()+": ask for one job by its id, percent-encoded, as in /jobs?id=gitlab.example%2F4711%2Fbuild", http.StatusBadRequest)
		return
	}
	row, found, err := r.ledger.Job(req.Context(), id)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case !found:
		http.Error(w, "No job with this id is recorded. Jobs are kept for "+model.Duration(r.opts.Retention).String()+
			" after they were received (--ledger.retention).", http.StatusNotFound)
	default:
		redirect(w, &row)
	}
}

// askedID is the one id in a query.
func askedID(query string) (string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", fmt.Errorf("the query can't be read (%s)", job.Quote(err.Error()))
	}
	ids := values["id"]
	if len(ids) > 1 {
		return "", fmt.Errorf("there are %d ids", len(ids))
	}
	id := strings.TrimSpace(values.Get("id")) // as /steps does
	switch {
	case id == "":
		return "", fmt.Errorf("there is no id")
	case utf8.RuneCountInString(id) > job.MaxID:
		return "", fmt.Errorf("no id is longer than %d characters", job.MaxID)
	}
	return id, nil
}

// redirect leads to a job's page, or says what is known of a job that has none.
func redirect(w http.ResponseWriter, row *ledger.Row) {
	target, ok := location(row.Job.URL)
	if !ok {
		http.Error(w, fmt.Sprintf(`This job is recorded without a link to it.

name:     %s
project:  %s
status:   %s
received: %s

Jobs that are sent with url (in GitLab: $CI_JOB_URL) can be followed from here.`,
			row.Job.Name, row.Job.Project, row.Job.Status, row.Received.Format(time.RFC3339)), http.StatusNotFound)
		return
	}
	w.Header().Set("Location", target)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusFound)
	fmt.Fprintln(w, target)
}

// location is a recorded link as a header can have it: a whole http or https address in
// ASCII without spaces. It was checked when the job came; what else may have got into
// the ledger leads nowhere.
func location(link string) (target string, ok bool) {
	u, err := url.Parse(link) // refuses control characters
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", false
	}
	var escaped strings.Builder
	for i := range len(link) {
		if c := link[i]; c <= ' ' || c > '~' {
			fmt.Fprintf(&escaped, "%%%02X", c)
		} else {
			escaped.WriteByte(c)
		}
	}
	return escaped.String(), true
}
