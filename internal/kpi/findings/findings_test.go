package findings_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/kpi/findings"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

// seeds is how many companies the findings are tried on. 20 were looked at when tests and
// limits were chosen; two take seconds under the race detector, on which everybody waits.
var seeds = flag.Uint64("seeds", 2, "how many companies to try the findings on, with and without planted problems; all: 20")

var findingsEnd = time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC)

// numbering is a store that numbers jobs but keeps only roll-ups of them: no finding reads
// the rows, which take most of the time to write.
type numbering struct {
	ledger.Store
	last int64
}

func (n *numbering) Append(_ context.Context, entries []ledger.Entry) ([]ledger.Outcome, error) {
	outcomes := make([]ledger.Outcome, len(entries))
	for i := range outcomes {
		n.last++
		outcomes[i].Seq = n.last
	}
	return outcomes, nil
}

// newLedger is an empty one, whose clock stands at the end of the histories.
func newLedger(t testing.TB) *ledger.Ledger {
	t.Helper()
	store, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "ledger.db"), findingsEnd, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(context.Background(), &numbering{Store: store}, ledger.Options{Now: func() time.Time { return findingsEnd }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

func last(days int) kpi.Query {
	return kpi.Query{Period: kpi.Period{From: findingsEnd.AddDate(0, 0, -days), To: findingsEnd}}
}

func find(t testing.TB, a *kpi.Asker, q kpi.Query) *findings.Answer {
	t.Helper()
	f, err := findings.Find(context.Background(), a, q)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// periods are those that findings have to work with: the page's own, and all that there is.
var periods = []int{30, 90}

// company is a ledger with the history of a seed.
func company(t testing.TB, seed uint64, planted bool) (history.Shape, *kpi.Asker) {
	t.Helper()
	s := history.Demo(findingsEnd)
	s.Seed, s.Planted = seed, planted
	l := newLedger(t)
	if err := s.Fill(context.Background(), l.Record, nil); err != nil {
		t.Fatal(err)
	}
	return s, kpi.New(l)
}

// kinds say what is to be found of a story.
var kinds = map[string]findings.Kind{
	history.Slower: findings.Slower, history.Failing: findings.SuccessFell, history.Flaky: findings.FlakyRuns,
	history.Costly: findings.LostTime, history.Rollout: findings.Outdated, history.Outdated: findings.Outdated,
	history.Fading: findings.Fading, history.Stopped: findings.Stopped,
}

// isStory reports whether a finding is about a planted story.
func isStory(f *findings.Finding, p *history.Plant) bool {
	switch p.Kind {
	case history.Stopped:
		return f.Kind == findings.Stopped && slices.Equal(f.Projects, []string{p.Project})
	case history.Outdated:
		return f.Kind == findings.Outdated && f.Template == p.Template && f.Versions[0] == p.Version && slices.Contains(f.Projects, p.Project)
	case history.Rollout:
		return f.Kind == findings.Outdated && f.Template == p.Template && f.Versions[1] == p.Version
	}
	return f.Kind == kinds[p.Kind] && f.Template == p.Template
}

// Every planted story is found, and nothing that is not planted comes before one.
func TestPlanted(t *testing.T) {
	for seed := uint64(1); seed <= *seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s, a := company(t, seed, true)
			for _, days := range periods {
				found := find(t, a, last(days))
				t.Logf("seed %2d, last %d days, %d tested:%s", seed, days, found.Tested, ranks(t, found, s.Plants()))
				for i := range found.Items {
					proved(t, a, &found.Items[i])
				}
			}
			filtered(t, a, s.Plants())
		})
	}
}

// ranks says at which rank each story was found.
func ranks(t *testing.T, found *findings.Answer, plants []history.Plant) (table string) {
	t.Helper()
	lowest := -1
	for _, p := range plants {
		rank := slices.IndexFunc(found.Items, func(f findings.Finding) bool { return isStory(&f, &p) })
		if rank < 0 {
			t.Errorf("not found: %s", p.Text)
		}
		lowest = max(lowest, rank)
		table += fmt.Sprintf(" %s %d", p.Kind, rank+1)
	}
	for i, f := range found.Items {
		if slices.ContainsFunc(plants, func(p history.Plant) bool { return isStory(&f, &p) }) {
			continue
		}
		table += fmt.Sprintf("; not planted %s %d", f.Kind, i+1)
		if i < lowest {
			t.Errorf("%q is not planted, and comes before what is", f.Text)
		}
	}
	return table
}

// filtered asks for each story by its template or project alone.
func filtered(t *testing.T, a *kpi.Asker, plants []history.Plant) {
	t.Helper()
	for _, p := range plants {
		q := last(30)
		if p.Template != "" {
			q.Filter.Templates = []kpi.Pattern{kpi.Exactly(p.Template)}
		} else {
			q.Filter.Projects = []kpi.Pattern{kpi.Exactly(p.Project)}
		}
		found := find(t, a, q)
		if !slices.ContainsFunc(found.Items, func(f findings.Finding) bool { return isStory(&f, &p) }) {
			t.Errorf("not found with a filter: %s", p.Text)
		}
		for _, f := range found.Items {
			if p.Template != "" && f.Template != p.Template {
				t.Errorf("with a filter by %s: %s", p.Template, f.Text)
			}
		}
	}
}

// Where nothing is planted, nothing is found: in at most 5 % of all answers.
func TestUnplanted(t *testing.T) {
	var wrong, answers atomic.Int64
	t.Run("company", func(t *testing.T) {
		for seed := uint64(1); seed <= *seeds; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				_, a := company(t, seed, false)
				for _, days := range periods {
					found := find(t, a, last(days))
					t.Logf("seed %2d, last %d days: %d of %d tested", seed, days, len(found.Items), found.Tested)
					for _, f := range found.Items {
						t.Logf("%s: %s (q %.3g)", f.Kind, f.Text, f.Q)
					}
					answers.Add(1)
					wrong.Add(int64(min(len(found.Items), 1)))
				}
			})
		}
	})
	if share := float64(wrong.Load()) / float64(answers.Load()); share > findings.FalseDiscoveries {
		t.Errorf("%d of %d answers have a finding where there is nothing", wrong.Load(), answers.Load())
	}
}
