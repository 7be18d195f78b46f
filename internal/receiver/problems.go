package receiver

import (
	"net/http"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/steps"
	"ci-jobs-metrics/internal/totals"
)

// found notes what was wrong with items of a request, for those who can mend its sender.
func (r *Receiver) found(sender string, found []steps.Finding) {
	now := job.Instant(r.opts.Now())
	noted := make([]problems.Problem, len(found))
	for i := range found {
		noted[i] = problemOf(&found[i], sender, now)
	}
	r.ledger.Note(noted)
}

func problemOf(f *steps.Finding, sender string, at time.Time) problems.Problem {
	p := problems.Problem{
		Key:      problems.Key{Kind: problems.Warned, Project: f.Project, Field: f.Field, Reason: f.Reason},
		Template: f.Name, Remedy: f.Remedy, Value: f.Value, Sender: sender,
		Count: int64(f.Count), First: at, Last: at,
	}
	if f.Rejected {
		p.Kind = problems.Rejected
	}
	if f.Others {
		p.Project = totals.Other
	}
	return p
}

// refused counts and notes requests of which nothing was looked at. Those that are to be
// sent again as they are, for the receiver was busy, are not the sender's problem.
func (r *Receiver) refused(h *health) func(steps.Refusal) {
	return func(refusal steps.Refusal) {
		h.unread(&refusal)
		if refusal.Status == http.StatusServiceUnavailable {
			return
		}
		now := job.Instant(r.opts.Now())
		r.ledger.Note([]problems.Problem{{
			Key:    problems.Key{Kind: problems.Refused, Reason: job.Reason(reasonOf(&refusal))},
			Remedy: refusal.Detail, Sender: refusal.Sender,
			Count: 1, First: now, Last: now,
		}})
	}
}
