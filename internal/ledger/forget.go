package ledger

import (
	"context"
	"errors"
	"log/slog"

	"ci-jobs-metrics/internal/totals"
)

// Forgotten is what Forget took out.
type Forgotten struct {
	Sets int    // label sets that ended
	Jobs uint64 // jobs that counted there
}

// Forget takes the counters of a template, of a project, or of a template in a project
// out of a store that no Ledger uses, as totals.Forget says. The jobs themselves stay.
// The store is closed in any case.
func Forget(ctx context.Context, store Store, template, project string, logger *slog.Logger) (f Forgotten, err error) {
	defer func() { err = errors.Join(err, store.Close()) }()
	l := &Ledger{store: store, opts: Options{Logger: logger}, totals: totals.New(totals.Settings{})}
	l.opts.setDefaults()
	if _, err := l.loadCheckpoint(ctx); err != nil {
		return f, err
	}
	if err := l.foldTail(ctx); err != nil {
		return f, err
	}
	if f.Sets, f.Jobs = l.totals.Forget(template, project, l.applied); f.Sets == 0 {
		return f, nil
	}
	return f, l.checkpoint(ctx)
}
