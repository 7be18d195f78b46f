package steps

import (
	"net"
	"net/http"

	"ci-jobs-metrics/internal/job"
)

// maxFindings is how many findings of a request name their project. Problems with further
// projects are added up, so that ten thousand bad items cost their receiver no more than
// these; each reason's counts are right all the same.
const maxFindings = 100

// A Finding is what was wrong with items of a request, those alike taken together: with
// the same project, field and reason, and rejected or not. The rest is of the last one.
type Finding struct {
	job.Problem      // without its Index
	Rejected    bool // or else the items count all the same
	Count       int
	Project     string // as sent, of any length; empty if it was not, or could not be read
	Name        string // likewise
	// Others says that Project is any of those for which there was no room.
	Others bool
}

// A Refusal is why nothing of a request was looked at.
type Refusal struct {
	Status int    // of HTTP
	Detail string // what is wrong and what to do, for people
	Sender string // the host that the request came from
}

// sender is the host that a request came from: a proxy's, behind one, for anybody can write
// into a header that it came from elsewhere.
func sender(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// A summary gathers the findings of a request.
type summary struct {
	found  []Finding
	places map[alike]int // in found; nil if there are none
}

// alike is what problems have in common that are one finding.
type alike struct {
	rejected, others bool
	project, field   string
	reason           job.Reason
}

// add takes the problems of an item.
func (s *summary) add(rejected bool, report *job.Report, problems []job.Problem) {
	for i := range problems {
		f := s.finding(alike{rejected: rejected, project: report.Project, field: problems[i].Field, reason: problems[i].Reason})
		f.Problem, f.Name = problems[i], report.Name
		f.Count++
	}
}

// finding is the one for such problems, or the one of the others.
func (s *summary) finding(k alike) *Finding {
	at, ok := s.places[k]
	if !ok && len(s.found) >= maxFindings {
		k.project, k.others = "", true
		at, ok = s.places[k]
	}
	if !ok {
		if s.places == nil {
			s.places = map[alike]int{}
		}
		at = len(s.found)
		s.places[k] = at
		s.found = append(s.found, Finding{Rejected: k.rejected, Project: k.project, Others: k.others})
	}
	return &s.found[at]
}
