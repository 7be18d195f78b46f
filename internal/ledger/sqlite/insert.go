package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
)

// chunks are how many rows one INSERT takes, the largest first. More are not faster:
// the driver looks for each argument among all of the statement's.
var chunks = [...]int{8, 2, 1}

// errDuplicates says that not all rows were inserted, for their ids are known.
var errDuplicates = errors.New("an id was recorded before")

// An inserter inserts jobs. Rows without any optional field, as curl and the classic
// after_script send them, have statements of their own with half as many arguments.
type inserter struct {
	*writer
	narrow, wide [len(chunks)]driver.Stmt
	status       driver.Stmt // of the job that has an id
}

func newInserter(w *writer) (*inserter, error) {
	in := &inserter{writer: w}
	var err error
	for i, rows := range chunks {
		in.narrow[i], err = w.prepare(insertRows(neededColumns, rows), err)
		in.wide[i], err = w.prepare(insertRows(jobColumns, rows), err)
	}
	in.status, err = w.prepare(`SELECT status FROM jobs WHERE id = ?`, err)
	return in, err
}

// insertRows is the INSERT of some rows. The conflict is named, so that only a known
// id is passed over in silence.
func insertRows(columns string, rows int) string {
	return fmt.Sprintf("INSERT INTO jobs (%s) VALUES %s ON CONFLICT (id) WHERE id IS NOT NULL DO NOTHING",
		columns, placeholders(columns, rows))
}

// placeholders are the VALUES of some rows.
func placeholders(columns string, rows int) string {
	row := "(?" + strings.Repeat(", ?", strings.Count(columns, ",")) + ")"
	return row + strings.Repeat(", "+row, rows-1)
}

// insert inserts entries as rows numbered from first, within a transaction. It is
// errDuplicates if the id of one was recorded before; then some may be inserted.
func (in *inserter) insert(first int64, entries []ledger.Entry) error {
	for len(entries) > 0 {
		wide := isWide(&entries[0])
		run := 1
		for run < min(len(entries), chunks[0]) && isWide(&entries[run]) == wide {
			run++
		}
		statements := &in.narrow
		if wide {
			statements = &in.wide
		}
		for i, rows := range chunks {
			for ; run >= rows; run -= rows {
				if err := in.insertChunk(statements[i], first, entries[:rows], wide); err != nil {
					return err
				}
				first, entries = first+int64(rows), entries[rows:]
			}
		}
	}
	return nil
}

func (in *inserter) insertChunk(statement driver.Stmt, first int64, entries []ledger.Entry, wide bool) error {
	for i := range entries {
		in.bindJob(first+int64(i), &entries[i], wide)
	}
	n, err := in.execute(statement)
	if err == nil && n < int64(len(entries)) {
		err = errDuplicates
	}
	return err
}

// bindJob binds a row's arguments, in the order of its columns.
func (in *inserter) bindJob(seq int64, e *ledger.Entry, wide bool) {
	j := &e.Job
	var started, duration, id driver.Value // nil is NULL
	if !j.Started.IsZero() {
		started = micros(j.Started)
	}
	if j.Timed {
		duration = j.Duration.Microseconds()
	}
	if j.ID != "" {
		id = j.ID
	}
	in.bind(seq, micros(e.Received), j.Name, j.Project, string(j.Status), started, micros(j.Finished), duration, id)
	if wide {
		in.bind(j.Version, j.Job, j.URL, j.Stage, j.Ref, j.SHA, j.Pipeline, j.Runner, j.Source)
	}
}

// isWide says whether a job has an optional field.
func isWide(e *ledger.Entry) bool {
	j := &e.Job
	return j.Version != "" || j.Job != "" || j.URL != "" || j.Stage != "" || j.Ref != "" || j.SHA != "" ||
		j.Pipeline != "" || j.Runner != "" || j.Source != ""
}

// isLate says whether a duplicate knows the end of a job that was recorded without.
// It is asked when everything is committed, so where it can't be known it is false:
// an error would say that nothing was recorded.
func (in *inserter) isLate(j *job.Job) bool {
	if j.Status == job.Unknown {
		return false
	}
	in.bind(j.ID)
	recorded, err := in.one(in.status)
	return err == nil && recorded == string(job.Unknown)
}
