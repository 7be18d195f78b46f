package ledger

import (
	"log/slog"
	"time"

	"ci-jobs-metrics/internal/totals"
)

// budgetLogEvery is how often it is said that label sets find no room.
const budgetLogEvery = time.Hour

// A budget says when values begin to fold, and that they still do.
type budget struct {
	logger *slog.Logger
	said   totals.Folded
	next   time.Time
}

func (b *budget) look(s totals.Stats, now time.Time) {
	if s.Folded == b.said || now.Before(b.next) {
		return
	}
	b.logger.Warn("The budget of label sets is used up: new values count as "+totals.Other+
		" in the metrics (the ledger keeps the true ones). Raise --metrics.max-series, choose fewer labels with --metrics.label, or make room with receiver forget",
		"max_series", s.MaxSets, "label_sets", s.Runs,
		"jobs_without_labels", s.Folded.Labels, "jobs_without_project", s.Folded.Projects, "jobs_without_template", s.Folded.Templates)
	b.said, b.next = s.Folded, now.Add(budgetLogEvery)
}
