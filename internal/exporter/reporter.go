package exporter

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/steps/client"
	"ci-jobs-metrics/internal/steps/wire"
)

const (
	repeatFailure = time.Minute // after which the same failure is logged again
	shownProblems = 20          // per answer; the receiver counts all
)

// A reporter writes what becomes of deliveries to the log: one line for each that
// succeeds, and of failures only the news.
type reporter struct {
	log      *slog.Logger
	attempts int // failed ones since the last delivery
	failure  string
	at       time.Time // when failure was logged
	kept     bool      // what isn't delivered at the end is there at the next start
}

// delivered returns how many of the items the receiver rejected.
func (r *reporter) delivered(batch []Item, answer wire.Answer) (rejected int) {
	attrs := []any{"recorded", answer.Recorded, "duplicates", answer.Duplicates}
	if len(batch) == 1 {
		attrs = append(attrs, "name", batch[0].Name, "id", batch[0].ID)
	}
	if r.attempts > 0 {
		attrs = append(attrs, "failed_attempts", r.attempts)
	}
	rejected = len(batch) - answer.Recorded - answer.Duplicates
	if rejected > 0 {
		attrs = append(attrs, "rejected", rejected)
	}
	r.log.Info("delivered", attrs...)
	*r = reporter{log: r.log, kept: r.kept}
	r.problems(slog.LevelError, "rejected: this job does not count", batch, answer.Rejected)
	r.problems(slog.LevelWarn, "counted, but to be mended", batch, answer.Warnings)
	return rejected
}

func (r *reporter) refused(batch []Item, refusal *client.Error) {
	r.log.Error("refused for good: not counted", "items", len(batch), "status", refusal.Status, "reason", refusal.Reason)
	*r = reporter{log: r.log, kept: r.kept}
	r.problems(slog.LevelError, "rejected: this job does not count", batch, refusal.Rejected)
}

func (r *reporter) problems(level slog.Level, message string, batch []Item, problems []job.Problem) {
	for i, p := range problems {
		if i == shownProblems {
			r.log.Log(context.Background(), level, message, "more", len(problems)-i)
			return
		}
		var item Item
		if 0 <= p.Index && p.Index < len(batch) {
			item = batch[p.Index]
		}
		r.log.Log(context.Background(), level, message, "name", item.Name, "id", item.ID, "problem", p.String())
	}
}

// failed logs a failure that will be retried, if it is the first, another one than
// before, or a minute has passed.
func (r *reporter) failed(items int, err error) {
	r.attempts++
	now, failure := time.Now(), kind(err)
	if failure == r.failure && now.Sub(r.at) < repeatFailure {
		return
	}
	r.failure, r.at = failure, now
	r.log.Warn("not delivered yet; it is tried again", "items", items, "attempts", r.attempts, "error", err)
}

// undelivered logs what is lost at the end.
func (r *reporter) undelivered(items []Item, err error) {
	if len(items) == 0 {
		return
	}
	var ids []string
	for _, item := range items[:min(len(items), shownProblems)] {
		ids = append(ids, item.ID)
	}
	message := "lost: not delivered in time"
	if r.kept {
		message = "not delivered in time: it is tried again at the next start"
	}
	r.log.Error(message, "items", len(items), "ids", ids, "error", err)
}

// kind is an error's text without what differs each time: our own port, the time that a
// certificate isn't valid at, a request's id in a refusal's reason.
func kind(err error) string {
	var refusal *client.Error
	if errors.As(err, &refusal) {
		return fmt.Sprint("status ", refusal.Status)
	}
	var certificate x509.CertificateInvalidError
	if errors.As(err, &certificate) {
		return fmt.Sprint("certificate ", certificate.Reason)
	}
	var lookup *net.DNSError
	if errors.As(err, &lookup) {
		return fmt.Sprint("lookup ", lookup.Name, lookup.IsNotFound, lookup.IsTimeout)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Op + " " + op.Err.Error()
	}
	return err.Error()
}
