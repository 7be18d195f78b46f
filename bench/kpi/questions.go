package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"ci-jobs-metrics/bench/internal/load"
)

// A question is one that is asked again and again.
type question struct {
	name, path string
	query      url.Values
	// where says of which jobs the plain SELECT is that has the same answer.
	where string
	args  []any
}

// An answer is what the receiver says and a plain SELECT over the job table too.
type answer struct {
	Jobs      int64   `json:"jobs"`
	Success   int64   `json:"-"`
	Failed    int64   `json:"-"`
	Projects  int64   `json:"projects"`
	Templates int64   `json:"templates"`
	CIHours   float64 `json:"ci_hours"`
	Statuses  struct {
		Success  int64 `json:"success"`
		Failed   int64 `json:"failed"`
		TimedOut int64 `json:"timedout"`
	} `json:"statuses"`
}

const days = 90

// ask returns what a question took, with its answer.
func ask(ctx context.Context, s *load.Server, q *question) (time.Duration, *answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Address+"/api/v1/"+q.path+"?"+q.query.Encode(), nil)
	if err != nil {
		return 0, nil, err
	}
	begun := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	took := time.Since(begun)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", q.name, response.Status, body)
	}
	var a struct{ Current answer }
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	a.Current.Success = a.Current.Statuses.Success
	a.Current.Failed = a.Current.Statuses.Failed + a.Current.Statuses.TimedOut
	return took, &a.Current, err
}

func (b *bench) questions(ctx context.Context) error {
	list, err := b.list(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d jobs, period of %d days, and the one before; over HTTP. cold: the first question after a start, with the file out of the\n"+
		"system's cache where that may be emptied (%s). stolen: processor time that the machine's host gave to others\n\n", b.jobs, days, dropCaches())
	fmt.Printf("%-28s %8s %8s %8s %8s  %10s %8s  %8s\n", "question", "cold ms", "p50 ms", "p95 ms", "max ms", "SELECT ms", "ratio", "stolen %")
	for i := range list {
		if err := b.question(ctx, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// question takes one line of the table.
func (b *bench) question(ctx context.Context, q *question) error {
	dropCaches()
	s, _, err := b.startReceiver()
	if err != nil {
		return err
	}
	defer s.Stop()
	before, begun := load.Stolen(), time.Now()
	cold, said, err := ask(ctx, s, q)
	if err != nil {
		return err
	}
	var warm []float64
	for range b.rounds {
		took, _, err := ask(ctx, s, q)
		if err != nil {
			return err
		}
		warm = append(warm, milliseconds(took))
	}
	stolen := (load.Stolen() - before) / time.Since(begun).Seconds() / 2 * 100
	slices.Sort(warm)
	fmt.Printf("%-28s %8.0f %8.1f %8.1f %8.1f", q.name, milliseconds(cold), warm[len(warm)/2], warm[len(warm)*95/100], warm[len(warm)-1])
	if q.where == "" {
		fmt.Printf("  %10s %8s  %8.1f\n", "", "", stolen)
		return nil
	}
	took, want, err := b.selectAnswer(ctx, q)
	if err != nil {
		return err
	}
	want.Statuses = said.Statuses
	if said.CIHours = want.CIHours + math.Round((said.CIHours-want.CIHours)*1e6)/1e6; *said != *want {
		return fmt.Errorf("%s: the answer is %+v, but the jobs say %+v", q.name, *said, *want)
	}
	fmt.Printf("  %10.0f %7.0fx  %8.1f\n", milliseconds(took), milliseconds(took)/warm[len(warm)/2], stolen)
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// dropCaches has the system forget what it keeps of files, and says whether it could.
func dropCaches() string {
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
		return "here it may not"
	}
	return "here it may"
}

// selectAnswer is the same answer from the jobs themselves.
func (b *bench) selectAnswer(ctx context.Context, q *question) (time.Duration, *answer, error) {
	db, err := sql.Open("sqlite", "file:"+b.ledger+"?mode=ro")
	if err != nil {
		return 0, nil, err
	}
	defer db.Close() //nolint:errcheck // only read
	from, to := b.period()
	args := append([]any{from.UnixMicro(), to.UnixMicro()}, q.args...)
	var a answer
	var micros int64
	begun := time.Now()
	err = db.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(status = 'success'), 0), coalesce(sum(status IN ('failed', 'timedout')), 0),
		count(DISTINCT project), count(DISTINCT name), coalesce(sum(duration), 0)
		FROM jobs WHERE finished >= ? AND finished < ?`+q.where, args...).
		Scan(&a.Jobs, &a.Success, &a.Failed, &a.Projects, &a.Templates, &micros)
	a.CIHours = float64(micros) / 3.6e9
	return time.Since(begun), &a, err
}

// period is the one that questions are about.
func (b *bench) period() (from, to time.Time) {
	to = b.end.Add(time.Hour)
	return to.Add(-days * 24 * time.Hour), to
}

// list has the questions, about a template and a project that are much in use.
func (b *bench) list(ctx context.Context) ([]question, error) {
	s, _, err := b.startReceiver()
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	var templates struct{ Items []struct{ Template string } }
	var projects struct{ Items []struct{ Project string } }
	if err := get(ctx, s, "templates?last=30d&limit=1", &templates); err != nil {
		return nil, err
	}
	if err := get(ctx, s, "projects?last=30d&limit=1", &projects); err != nil {
		return nil, err
	}
	if len(templates.Items) == 0 || len(projects.Items) == 0 {
		return nil, fmt.Errorf("%s has no jobs of the last 30 days: remove it", b.ledger)
	}
	template, project := templates.Items[0].Template, projects.Items[0].Project
	const own = " AND name = ?"
	period := func(more ...string) url.Values {
		from, to := b.period()
		v := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
		for i := 0; i < len(more); i += 2 {
			v.Add(more[i], more[i+1])
		}
		return v
	}
	return []question{
		{name: "overview", path: "overview", query: period(), where: " "},
		{name: "overview, failed only", path: "overview", query: period("status", "failed", "status", "timedout"), where: " AND status IN ('failed', 'timedout')"},
		{name: "overview, project glob", path: "overview", query: period("project", "*a*"), where: " AND project GLOB '*a*'"},
		{name: "one template", path: "template", query: period("name", template), where: own, args: []any{template}},
		{name: "one project", path: "project", query: period("name", project), where: " AND project = ?", args: []any{project}},
		{name: "templates, 100 rows", path: "templates", query: period()},
		{name: "projects, 100 of 1000", path: "projects", query: period()},
		{name: "templates of one project", path: "templates", query: period("project", project)},
		{name: "projects of one template", path: "projects", query: period("template", template)},
		{name: "versions, 100 rows", path: "versions", query: period()},
		{name: "failures, the last 50", path: "failures", query: period("limit", "50")},
		{name: "failures of one project", path: "failures", query: period("limit", "50", "project", project)},
		{name: "overview, 24 h by the hour", path: "overview", query: url.Values{"last": {"24h"}, "interval": {"hour"}}},
	}, nil
}

func get(ctx context.Context, s *load.Server, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Address+"/api/v1/"+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}
