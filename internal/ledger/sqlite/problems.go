package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"ci-jobs-metrics/internal/problems"
)

const problemColumns = "kind, project, field, reason, template, remedy, value, sender, count, first_seen, last_seen"

// newestProblems is the order of problems.Problem.Compare.
const newestProblems = "ORDER BY last_seen DESC, kind, project, field, reason"

// A keeper stores problems.
type keeper struct {
	*writer
	setClock, put, drop driver.Stmt
}

func newKeeper(w *writer) (*keeper, error) {
	k := &keeper{writer: w}
	var err error
	k.setClock, err = w.prepare(`UPDATE problems SET first_seen = min(first_seen, ?1), last_seen = ?1 WHERE last_seen > ?1`, err)
	// All on the right is as it was before.
	k.put, err = w.prepare(fmt.Sprintf(`INSERT INTO problems (%s) VALUES %s ON CONFLICT DO UPDATE SET
		template   = iif(excluded.last_seen >= last_seen, excluded.template, template),
		remedy     = iif(excluded.last_seen >= last_seen, excluded.remedy, remedy),
		value      = iif(excluded.last_seen >= last_seen, excluded.value, value),
		sender     = iif(excluded.last_seen >= last_seen, excluded.sender, sender),
		count      = count + excluded.count,
		first_seen = min(first_seen, excluded.first_seen),
		last_seen  = max(last_seen, excluded.last_seen)`, problemColumns, placeholders(problemColumns, 1)), err)
	k.drop, err = w.prepare(`DELETE FROM problems WHERE last_seen < ?
		OR (kind, project, field, reason) IN (SELECT kind, project, field, reason FROM problems `+newestProblems+` LIMIT -1 OFFSET ?)`, err)
	return k, err
}

// SaveProblems implements ledger.Store.
func (s *Store) SaveProblems(_ context.Context, found []problems.Problem, since, now time.Time) error {
	return explain(s.keeper.transaction(func() error {
		s.keeper.bind(micros(now))
		if _, err := s.keeper.execute(s.keeper.setClock); err != nil {
			return err
		}
		for i := range found {
			if err := s.keeper.putProblem(&found[i]); err != nil {
				return err
			}
		}
		s.keeper.bind(micros(since), int64(problems.MaxKept))
		_, err := s.keeper.execute(s.keeper.drop)
		return err
	}))
}

func (k *keeper) putProblem(p *problems.Problem) error {
	k.bind(string(p.Kind), p.Project, p.Field, string(p.Reason), p.Template, p.Remedy, p.Value, p.Sender,
		p.Count, micros(p.First), micros(p.Last))
	_, err := k.execute(k.put)
	return err
}

// Problems implements ledger.Store.
func (s *Store) Problems(ctx context.Context) (all []problems.Problem, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		all, err = queryProblems(ctx, s.reader)
		return err
	})
	return all, err
}

func queryProblems(ctx context.Context, from querier) ([]problems.Problem, error) {
	found, err := from.QueryContext(ctx, `SELECT `+problemColumns+` FROM problems `+newestProblems)
	if err != nil {
		return nil, explain(err)
	}
	defer found.Close()
	var all []problems.Problem
	for found.Next() {
		var p problems.Problem
		var first, last int64
		err := found.Scan(&p.Kind, &p.Project, &p.Field, &p.Reason, &p.Template, &p.Remedy, &p.Value, &p.Sender, &p.Count, &first, &last)
		if err != nil {
			return nil, fmt.Errorf("reading a problem: %w", err)
		}
		p.First, p.Last = fromMicros(first), fromMicros(last)
		all = append(all, p)
	}
	return all, explain(found.Err())
}
