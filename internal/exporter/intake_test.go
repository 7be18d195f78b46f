package exporter_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/exporter"
	"ci-jobs-metrics/internal/exporter/file"
)

// environ is an environment in a map.
type environ map[string]string

func (e environ) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

func (e environ) with(pairs ...string) environ {
	changed := environ{}
	for name, value := range e {
		changed[name] = value
	}
	for i := 0; i < len(pairs); i += 2 {
		changed[pairs[i]] = pairs[i+1]
	}
	return changed
}

var (
	started = "2026-05-23T13:00:00Z"
	written = time.Date(2026, 5, 23, 15, 5, 0, 123456789, time.FixedZone("", 2*3600))

	// gitlab is what a job of GitLab has.
	gitlab = environ{
		"CI_SERVER_HOST": "GitLab.example", "CI_JOB_ID": "77", "CI_JOB_NAME": "build 1/2",
		"CI_PROJECT_PATH": "group/app", "CI_JOB_STARTED_AT": started, "CI_JOB_STATUS": "running",
		"CI_JOB_URL": "https://gitlab.example/group/app/-/jobs/77", "CI_JOB_STAGE": "test",
		"CI_COMMIT_REF_NAME": "main", "CI_COMMIT_SHA": "abc", "CI_PIPELINE_ID": "5",
		"CI_RUNNER_DESCRIPTION": "runner-1", "CI_PIPELINE_SOURCE": "push", "HOSTNAME": "pod-1",
	}
	bare = environ{"HOSTNAME": "pod-1"}
)

func newIntake(env environ) *exporter.Intake {
	return exporter.NewIntake(env.lookup, slog.New(slog.DiscardHandler))
}

func content(text string) *file.Content {
	return &file.Content{Parsed: file.Parse([]byte(text)), Text: []byte(text), Modified: written, Identity: "1@2"}
}

func take(t *testing.T, in *exporter.Intake, text string) []exporter.Item {
	t.Helper()
	items, _ := in.Take(content(text))
	return items
}

func ids(items []exporter.Item) string {
	var all []string
	for _, item := range items {
		all = append(all, item.ID)
	}
	return strings.Join(all, " ")
}

func TestFillIn(t *testing.T) {
	t.Parallel()
	all := `{"finished":"2026-05-23T13:05:00.123456Z","id":"gitlab.example/77/build","job":"build 1/2","name":"build 1/2",` +
		`"pipeline":"5","project":"group/app","ref":"main","runner":"runner-1","sha":"abc","source":"push","stage":"test",` +
		`"started":"2026-05-23T13:00:00Z","status":"success","url":"https://gitlab.example/group/app/-/jobs/77"}`
	for name, c := range map[string]struct {
		env  environ
		text string
		want string
	}{
		"all":      {gitlab, `{"status":"success"}`, all},
		"null":     {gitlab, `{"status":"success","name":null,"finished":null,"id":null}`, all},
		"empty":    {gitlab, `{"status":"success","name":" ","project":"","id":""}`, all},
		"variable": {gitlab, `{"status":"success","name":"$CI_JOB_NAME","project":"CI_PROJECT_PATH","id":"${CI_JOB_ID}","sha":"$CI_COMMIT_SHA"}`, all},
		"any case": {gitlab, `{"STATUS":"success","Name":""}`, all},
		"template": {bare.with("CI_METRICS_NAME", "dotnet_build", "CI_METRICS_VERSION", "1.2", "CI_JOB_NAME", "api"), `{"id":"x","finished":"y"}`,
			`{"finished":"y","id":"x","job":"api","name":"dotnet_build","version":"1.2"}`},
		"variable in the environment": {bare.with("CI_METRICS_NAME", "$CI_JOB_NAME", "CI_PROJECT_PATH", " "), `{"id":"x","finished":"y"}`,
			`{"finished":"y","id":"x"}`},
		"status is never guessed":     {gitlab.with("CI_JOB_STATUS", "failed"), `{"id":"x","status":"$CI_JOB_STATUS"}`, `"status":"$CI_JOB_STATUS"`},
		"the file wins":               {gitlab, `{"id":"x","name":"a","url":"u","started":"s"}`, `"name":"a"`},
		"numbers keep their digits":   {gitlab, `{"id":12345678901234567890,"pipeline":1e400,"version":1.10}`, `"id":12345678901234567890`},
		"wrong types are passed on":   {gitlab, `{"name":{"a":[1]},"id":"x"}`, `"name":{"a":[1]}`},
		"unknown fields are not sent": {gitlab, `{"id":"x","cpu":[1, 2],"job_id":77,"name":"<&>"}`, `{"finished":"2026-05-23T13:05:00.123456Z","id":"x","job":"build 1/2","name":"<&>","pipeline":"5","project":"group/app","ref":"main","runner":"runner-1","sha":"abc","source":"push","stage":"test","started":"2026-05-23T13:00:00Z","url":"https://gitlab.example/group/app/-/jobs/77"}`},
		"too long a variable":         {gitlab.with("CI_RUNNER_DESCRIPTION", strings.Repeat("é", 256)), `{"id":"x"}`, `"ref":"main","sha":"abc"`},
		"just short enough":           {gitlab.with("CI_RUNNER_DESCRIPTION", strings.Repeat("é", 255)), `{"id":"x"}`, `"runner":"éé`},
		"lower case wins over other":  {gitlab, `{"NAME":"b","name":"a","Name":"c","id":"x"}`, `"name":"a"`},
	} {
		items := take(t, newIntake(c.env), c.text)
		if len(items) != 1 {
			t.Errorf("%s: %d items", name, len(items))
			continue
		}
		got := string(items[0].JSON)
		if strings.HasPrefix(c.want, "{") {
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		} else if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s has no %s", name, got, c.want)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 250)
	for name, c := range map[string]struct {
		env  environ
		text string
		want string
	}{
		"job":                  {gitlab, `{}`, "gitlab.example/77/build"},
		"name of the file":     {gitlab, `{"name":"a 3/4"}`, "gitlab.example/77/a"},
		"control characters":   {gitlab, `{"name":"a\u0007b"}`, "gitlab.example/77/a b"},
		"repeats":              {gitlab, `[{"name":"a"},{"name":"b"},{"name":"a","status":"x"},{"name":"a: [x]"}]`, "gitlab.example/77/a gitlab.example/77/b gitlab.example/77/a~1 gitlab.example/77/a~2"},
		"own ids don't repeat": {gitlab, `{"id":"x"}{}{"id":7}{}`, "x gitlab.example/77/build 7 gitlab.example/77/build~1"},
		"server URL":           {gitlab.with("CI_SERVER_HOST", "", "CI_SERVER_URL", "https://Git.example:8443/sub"), `{}`, "git.example/77/build"},
		"job URL":              {gitlab.with("CI_SERVER_HOST", "$CI_SERVER_HOST"), `{}`, "gitlab.example/77/build"},
		"all from the file":    {bare, `{"job_id":9,"url":"https://h:1/x","name":"a"}`, "h/9/a"},
		"no name":              {gitlab.with("CI_JOB_NAME", ""), `{}`, "gitlab.example/77/"},
	} {
		if got := ids(take(t, newIntake(c.env), c.text)); got != c.want {
			t.Errorf("%s: ids %s, want %s", name, got, c.want)
		}
	}
	items := take(t, newIntake(gitlab), fmt.Sprintf(`[{"name":"%s1"},{"name":"%[1]s2"},{"name":"%[1]s1"}]`, long))
	seen := map[string]bool{}
	for _, item := range items {
		if n := utf8.RuneCountInString(item.ID); n > 200 || !strings.HasPrefix(item.ID, "gitlab.example/77/üü") || seen[item.ID] {
			t.Errorf("id of %d characters: %s", n, item.ID)
		}
		seen[item.ID] = true
	}
}

// Where the job isn't known, an id still is the same after a restart and whatever
// is appended, and differs with the pod, the file, the content and the repeat.
func TestDerivedIDs(t *testing.T) {
	t.Parallel()
	const text = `{"name":"a"}` + "\n" + `{"name":"a"}` + "\n" + `{"name":"b"}` + "\n"
	first := take(t, newIntake(bare), text)
	seen := map[string]bool{}
	for _, item := range first {
		seen[item.ID] = true
	}
	if len(first) != 3 || len(seen) != 3 {
		t.Fatalf("ids %s", ids(first))
	}
	again := take(t, newIntake(bare), text+`{ "name" : "a" }`)
	if ids(again[:3]) != ids(first) || seen[again[3].ID] {
		t.Errorf("after a restart %s, before %s", ids(again), ids(first))
	}
	if other := take(t, newIntake(bare.with("HOSTNAME", "pod-2")), text); seen[other[0].ID] {
		t.Error("another pod has the same id")
	}
	replaced := content(text)
	replaced.Identity = "3@4"
	if other, _ := newIntake(bare).Take(replaced); seen[other[0].ID] {
		t.Error("another file has the same id")
	}
	in := newIntake(bare)
	take(t, in, text)
	if fresh, ours := in.Take(replaced); len(fresh) != 0 || ours != 3 {
		t.Errorf("rewritten by mv, %d of %d were taken again", len(fresh), ours)
	}
}

func TestEachItemOnce(t *testing.T) {
	t.Parallel()
	in := newIntake(gitlab)
	for _, step := range []struct{ text, want string }{
		{`{"status":"failed"}`, "gitlab.example/77/build"},
		{`{"status":"failed"}`, ""},
		{`{ "status": "failed" }`, ""},
		{`{"status":"failed"}{"name":"b"}`, "gitlab.example/77/b"},
		{`{"status":"failed"}{"name":"b"}{"name":"b"}`, "gitlab.example/77/b~1"},
		{`{"status":"success"}`, "gitlab.example/77/build"}, // rewritten
		{`{"status":"failed"}`, ""},
	} {
		c := content(step.text)
		c.Modified = c.Modified.Add(time.Second) // appending changes it
		items, _ := in.Take(c)
		if got := ids(items); got != step.want {
			t.Errorf("%s: %q, want %q", step.text, got, step.want)
		}
	}
}

func TestLeftOvers(t *testing.T) {
	t.Parallel()
	before, after := "2026-05-23T12:00:00Z", "2026-05-23T13:30:00Z"
	for name, c := range map[string]struct {
		env     environ
		text    string
		written string
		ours    int
	}{
		"of this job":             {gitlab, `{"job_id":77}`, before, 1},
		"of this job, as text":    {gitlab, `{"job_id":"77"}`, before, 1},
		"of another job":          {gitlab, `{"job_id":76}`, after, 0},
		"one of two":              {gitlab, `{"job_id":76}{"job_id":77}`, after, 1},
		"id not expanded":         {gitlab, `{"job_id":"$CI_JOB_ID"}`, before, 0},
		"written before":          {gitlab, `{}`, before, 0},
		"written before, started": {gitlab, `{"started":"2026-05-23T15:00:00+02:00"}`, before, 1},
		"written before, other":   {gitlab, `{"started":"2026-05-23T11:00:00Z"}`, before, 0},
		"written at":              {gitlab, `{}`, started, 1},
		"written after":           {gitlab, `{}`, after, 1},
		"own start":               {gitlab, `{"started":"2026-05-23T13:10:00Z"}`, after, 1},
		"nothing known":           {bare, `{"job_id":76}`, before, 1},
		"start not readable":      {bare.with("CI_JOB_STARTED_AT", "yesterday"), `{}`, before, 1},
	} {
		f := content(c.text)
		f.Modified, _ = time.Parse(time.RFC3339, c.written)
		fresh, ours := newIntake(c.env).Take(f)
		if ours != c.ours || len(fresh) != c.ours {
			t.Errorf("%s: %d are ours, %d fresh, want %d", name, ours, len(fresh), c.ours)
		}
	}
}

func TestLeftOverIsLoggedOnceAndStaysOne(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	in := exporter.NewIntake(gitlab.lookup, slog.New(slog.NewTextHandler(&log, nil)))
	old := content(`{"status":"failed"}` + "\n")
	old.Modified = old.Modified.Add(-time.Hour)
	for range 3 {
		in.Take(old)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "another job") {
		t.Errorf("log: %s", got)
	}
	if fresh := take(t, in, `{"status":"failed"}`+"\n"+`{"status":"success"}`); len(fresh) != 1 || !strings.Contains(string(fresh[0].JSON), "success") {
		t.Errorf("appended to a left-over: %v", fresh)
	}
	if fresh := take(t, in, `{"status":"failed"}`+"\n"); len(fresh) != 1 {
		t.Errorf("written anew with the same content: %v", fresh)
	}
}

// The report of a missing file is a duplicate of the file that comes late.
func TestMissing(t *testing.T) {
	t.Parallel()
	env := gitlab.with("CI_METRICS_NAME", "dotnet_build")
	missing, ok := newIntake(env).Missing(written)
	if !ok || missing.ID != ids(take(t, newIntake(env), `{"status":"success"}`)) {
		t.Errorf("%v, %+v", ok, missing)
	}
	var sent map[string]string
	if err := json.Unmarshal(missing.JSON, &sent); err != nil || sent["status"] != "unknown" || sent["project"] != "group/app" ||
		sent["started"] != started || sent["finished"] != "2026-05-23T13:05:00.123456Z" {
		t.Errorf("sent %v, %v", sent, err)
	}
	if _, ok := newIntake(bare.with("CI_METRICS_NAME", "a")).Missing(written); ok {
		t.Error("reported without a project")
	}
	if item, ok := newIntake(bare.with("CI_METRICS_NAME", "a", "CI_PROJECT_PATH", "p")).Missing(written); !ok || item.ID == "" {
		t.Error("not reported without a job id")
	}
}

// A file that was left over lends its identity to nobody: after a restart, when it
// is gone, the job's own file gets the same id as before.
func TestIdentityIsNotALeftOvers(t *testing.T) {
	t.Parallel()
	at, err := time.Parse(time.RFC3339, started)
	if err != nil {
		t.Fatal(err)
	}
	content := func(identity string, modified time.Time) *file.Content {
		text := []byte(`{"name":"n","project":"p","status":"success"}`)
		return &file.Content{Parsed: file.Parse(text), Text: text, Modified: modified, Identity: identity}
	}
	env := environ{"CI_JOB_STARTED_AT": started, "HOSTNAME": "pod-1"}
	first := newIntake(env)
	if fresh, ours := first.Take(content("old", at.Add(-time.Hour))); len(fresh) != 0 || ours != 0 {
		t.Fatalf("the left-over is ours: %v", fresh)
	}
	before, _ := first.Take(content("new", at.Add(time.Minute)))
	after, _ := newIntake(env).Take(content("new", at.Add(time.Minute)))
	if len(before) != 1 || len(after) != 1 || before[0].ID != after[0].ID {
		t.Errorf("before the restart %v, after it %v", before, after)
	}
}

// What the receiver would reject a whole job for is mended or left out, where the job
// is known without it; and that changes no id.
func TestMended(t *testing.T) {
	var log bytes.Buffer
	in := exporter.NewIntake(gitlab.lookup, slog.New(slog.NewTextHandler(&log, nil)))
	long := strings.Repeat("x", 256)
	text := `{"status":"failed","version":"` + long + `","ref":"` + long + `","runner":"caf` + "\xe9" + `"}`
	items := take(t, in, text)
	if len(items) != 1 {
		t.Fatalf("%d items", len(items))
	}
	var sent map[string]string
	if err := json.Unmarshal(items[0].JSON, &sent); err != nil || !utf8.Valid(items[0].JSON) {
		t.Fatalf("%s: %v", items[0].JSON, err)
	}
	if _, there := sent["version"]; there || sent["ref"] != "main" || sent["runner"] != "caf\uFFFD" {
		t.Errorf("sent: %v", sent)
	}
	if !strings.Contains(log.String(), `fields="version ref"`) {
		t.Errorf("the log: %s", log.String())
	}
	if again := take(t, in, text); len(again) != 0 || strings.Count(log.String(), "too long") != 1 {
		t.Errorf("taken again: %v\n%s", again, log.String())
	}
	// What the job is about can't be left out: the receiver says what is wrong with it.
	items = take(t, newIntake(bare), `{"status":"failed","name":"`+long+`","project":"p"}`)
	if len(items) != 1 || !strings.Contains(string(items[0].JSON), long) {
		t.Errorf("a name that is too long: %v", items)
	}
}
