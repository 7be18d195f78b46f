package ledger

import (
	"context"

	"ci-jobs-metrics/internal/rollup"
)

// rollups are those that a verifier compares with a replay.
type rollups struct {
	head   rollup.Head
	ahead  map[rollup.Key]int64
	replay *rollup.Replay // nil if nothing is stored, or it can't be compared
	err    error          // of the replay
}

func (v *verifier) loadRollups(ctx context.Context) (err error) {
	r := &v.rollups
	if r.head, r.ahead, err = v.from.LoadRollups(ctx); err != nil || r.head.Zone == "" {
		return err
	}
	v.RollupsUpTo = r.head.UpTo
	zone, err := rollup.LoadZone(r.head.Zone)
	if err != nil {
		v.problem("roll-up", "the roll-ups have days of a time zone that is not known here: %v", err)
		return nil
	}
	r.replay = rollup.NewReplay(r.head, zone, r.ahead)
	return nil
}

// add takes a row into the replay. It is false if that failed.
func (r *rollups) add(row *Row) bool {
	if r.replay != nil && faultOf(row) == "" {
		r.err = r.replay.Add(row.Seq, &row.Job)
	}
	return r.err == nil
}

// compareRollups compares each stored block with the replay.
func (v *verifier) compareRollups(ctx context.Context) error {
	r := &v.rollups
	if r.replay == nil || r.err != nil {
		return r.err
	}
	var err error
	if v.RollupsExact, err = r.replay.End(); err != nil {
		return err
	}
	jobs := int64(0)
	err = v.from.AllBlocks(ctx, func(b *rollup.Block) error {
		v.Blocks++
		jobs += b.Jobs
		if differs := r.replay.Compare(b, v.RollupsExact); differs != "" {
			v.problem("roll-up", "the roll-up of %q on %v %s: %s", b.Template, b.Day, differs, Remedy)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for _, b := range r.replay.Rest() {
		if r.head.Pruned == 0 {
			v.problem("roll-up", "the roll-up of %q on %v is not stored, but %d of its jobs are here: %s", b.Template, b.Day, b.Jobs, Remedy)
		}
	}
	if what := r.head.Contradiction(jobs, r.ahead); what != "" {
		v.problem("sum", "the stored roll-ups %s: %s", what, Remedy)
	}
	return nil
}
