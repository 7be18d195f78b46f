package ledger

import (
	"context"
	"errors"
	"log/slog"

	"ci-jobs-metrics/internal/totals"
)

// Forget takes the counters of a template, of a project, or of a template in a project
// out of a store that no Ledger uses, as totals.Forget says. The jobs themselves stay.
// The store is closed in any case.
func Forget(ctx context.Context, store Store, template, project string, logger *slog.Logger) (f totals.Forgotten, err error) {
	defer func() { err = errors.Join(err, store.Close()) }()
	l := &Ledger{store: store, opts: Options{Logger: logger}, totals: totals.New(totals.Settings{})}
	l.opts.setDefaults()
	if _, err := l.loadCheckpoint(ctx); err != nil {
		return f, err
	}
	if err := l.foldTail(ctx); err != nil {
		return f, err
	}
	if f = l.totals.Forget(template, project, l.applied); f == (totals.Forgotten{}) {
		return f, nil
	}
	return f, l.checkpoint(ctx)
}
