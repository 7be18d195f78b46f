package ledger

import (
	"context"
	"iter"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

// An Entry is a job on its way into the ledger.
type Entry struct {
	Received time.Time // when the receiver got it, in whole microseconds, UTC
	Job      job.Job
}

// An Outcome says what became of an Entry.
type Outcome struct {
	// Seq is the number of the row that records the job; 0 if the job's id was
	// recorded before, so that it is a duplicate.
	Seq int64
	// Late marks a duplicate that knows how the job ended when what was
	// recorded does not: the exporter reported a job as unknown that it saw no
	// file of, and the file came after all.
	Late bool
}

// A Row is a recorded job.
type Row struct {
	Seq int64 // 1 and up; a later row has a higher number
	Entry
}

// Space is room on a disk, in bytes.
type Space struct {
	Used int64 // by the ledger
	Free int64 // what it may still grow; -1 if that is not known
}

// A Store keeps the ledger's rows and its folds' checkpoints. There is one for a
// single machine, package sqlite; package ledgertest says by tests what every
// store has to do.
//
// What changes the store (Append, SaveTotals, SaveBlocks, SaveRollups, SaveProblems, Prune,
// PruneBlocks, Rezone, Tend and Probe) is called from one goroutine of a Ledger at a time, the others
// from any, at any time. What is passed in is the
// caller's and not kept; what is returned is the caller's.
type Store interface {
	// Append records the entries in their order, in one transaction that is
	// durable (it survives a power cut) when Append returns. It returns an
	// outcome for each. An entry whose job has an id that was recorded before,
	// or earlier in entries, is a duplicate and leaves no row. The others get
	// the next sequence numbers: no row with a lower number becomes visible
	// later, and no number is ever used again, pruned rows' neither.
	//
	// After an error none of the entries is acknowledged. If the error came when all was
	// written but not known to be durable, a crash may leave them recorded all the same.
	Append(ctx context.Context, entries []Entry) ([]Outcome, error)

	// Rows returns the rows numbered above after, ascending, at most limit.
	Rows(ctx context.Context, after int64, limit int) ([]Row, error)

	// Job returns the row of the job with the given id, and whether there is one: not if
	// the id was never recorded, if its row was pruned, or if id is empty. A job that
	// Append returned an outcome for before the call is found, as it was recorded first.
	Job(ctx context.Context, id string) (Row, bool, error)

	// LoadTotals hands over the last checkpoint of the totals, all of one moment, in
	// parts of some thousand entries, counters first, each part with everything
	// else that a checkpoint holds. It returns the number of the last row that is in
	// it. There is at least one part, unless there is no checkpoint. An error of
	// take ends it and is returned.
	LoadTotals(ctx context.Context, take func(part *totals.Checkpoint) error) (upTo int64, err error)

	// SaveTotals brings the checkpoint of the totals to row upTo, in one
	// transaction: every entry of c replaces the one with its key; if
	// c.DropDurations, all histograms stored before go first, and if c.Replace all
	// counters. It is an error, and nothing is stored, if a checkpoint of a later
	// row is there: somebody else's.
	SaveTotals(ctx context.Context, c *totals.Checkpoint, upTo int64) error

	// Jobs returns the rows with the given numbers, in any order; not those that never
	// were, or were pruned.
	Jobs(ctx context.Context, numbers []int64) ([]Row, error)

	// LoadRollups returns how far the roll-ups are, zero if nothing was stored, and the
	// blocks that have seen rows behind that, with the last of these.
	LoadRollups(ctx context.Context) (head rollup.Head, ahead map[rollup.Key]int64, err error)

	// Blocks reads roll-ups.
	rollup.Loader

	// SaveBlocks stores blocks in one transaction, each in place of the one with its key.
	// They are kept whole, byte for byte.
	SaveBlocks(ctx context.Context, blocks []*rollup.Block) error

	// SaveRollups stores how far the roll-ups are, but for Pruned, which is PruneBlocks'
	// affair. It is an error, and nothing is stored, if they are further: somebody else's.
	SaveRollups(ctx context.Context, h rollup.Head) error

	// PruneBlocks deletes at most limit blocks of days before one, counts their jobs in
	// the Pruned of the head, and returns how many of each there were.
	PruneBlocks(ctx context.Context, before rollup.Day, limit int) (blocks int, jobs int64, err error)

	// Rezone replaces all blocks by those that convert puts, and the head, in one
	// transaction. old are all blocks, by day and template in ascending order.
	Rezone(ctx context.Context, h rollup.Head, convert func(old iter.Seq2[*rollup.Block, error], put func(*rollup.Block) error) error) error

	// SaveProblems adds problems to those that are stored, in one transaction, so that
	// the receivers of one store may all do it: the counts of those with the same key
	// are added up, First is the earliest, all else that of the latest Last. Each key is
	// in found once. Of what is stored then, what was last seen before since goes, and
	// all but the problems.MaxKept that were last seen. What was stored as seen after
	// now, by a clock that was ahead, counts as seen now, or it would keep out what
	// comes until then. After an error it is to be tried again; if it went through all
	// the same, it counts twice.
	SaveProblems(ctx context.Context, found []problems.Problem, since, now time.Time) error

	// Problems returns what SaveProblems stored, in the order of Compare.
	Problems(ctx context.Context) ([]problems.Problem, error)

	// Prune deletes at most limit of the oldest rows, of those numbered up to
	// upTo that were received before the given time, and returns how many. Rows
	// that came while the clock was ahead don't keep those behind them for long.
	// Ids of deleted rows are forgotten.
	Prune(ctx context.Context, before time.Time, upTo int64, limit int) (int, error)

	// Tend is called every few seconds. It looks whether everything that was recorded
	// is still where the next start finds it, and puts right what it can.
	Tend(ctx context.Context) error

	// Probe fails if a job could not be recorded now. It writes, durably, something
	// that changes nothing.
	Probe(ctx context.Context) error

	// Space is how much room the ledger takes.
	Space() (Space, error)

	// Created is when this ledger was made; it survives restarts, copies and
	// pruning.
	Created() time.Time

	// Close releases everything. No other method may be called after it.
	Close() error
}
