package steps_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/steps"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A door is a handler in front of a list: what it recorded.
type door struct {
	http.Handler
	recorded []job.Job
	observed []steps.Tally
	found    []steps.Finding
	refused  []int // statuses
	details  []string
	senders  []string // of what was found and refused
	err      error    // what recording fails with
	known    int      // how many jobs of each request counted before
}

func newDoor() *door {
	d := &door{}
	d.Handler = steps.Handler(steps.Options{
		Record: func(_ time.Time, jobs []job.Job) (int, error) {
			if d.err != nil {
				return 0, d.err
			}
			d.recorded = append(d.recorded, jobs...)
			return len(jobs) - d.known, nil
		},
		Retention: 90 * 24 * time.Hour,
		Now:       func() time.Time { return now },
		Observe:   func(a steps.Tally) { d.observed = append(d.observed, a) },
		Found: func(sender string, found []steps.Finding) {
			d.senders = append(d.senders, sender)
			d.found = append(d.found, found...)
		},
		Refused: func(r steps.Refusal) {
			d.senders = append(d.senders, r.Sender)
			d.refused, d.details = append(d.refused, r.Status), append(d.details, r.Detail)
		},
	})
	return d
}

// ask sends a request and returns its answer, of which every kind must be JSON
// that nobody caches.
func (d *door) ask(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	response := w.Result()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(body) {
		t.Errorf("the answer is not JSON: %s", body)
	}
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %q", got)
	}
	want := "application/problem+json"
	if response.StatusCode == http.StatusOK {
		want = "application/json"
	}
	if got := response.Header.Get("Content-Type"); got != want {
		t.Errorf("Content-Type of %d: %q, want %q", response.StatusCode, got, want)
	}
	return response, string(body)
}

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/steps", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func get(query string) *http.Request {
	return httptest.NewRequest(http.MethodGet, "/steps?"+query, nil)
}

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
	ndjson   = "application/x-ndjson"
)

// The same job, said in every way the wire has, is the same job.
func TestEveryForm(t *testing.T) {
	const query = "name=a+1%2F5&project=g%2Fp&status=failure&started=2026-03-01T11:58:00Z&finished=2026-03-01T11:59:30+00:00" +
		"&id=7&version=1.2&url=https%3A%2F%2Fgitlab.example%2F-%2Fjobs%2F7&stage=s&ref=r&sha=c&pipeline=12345678901234567890&runner=u&source=push&other=x"
	const object = `{"name":"a 1/5","project":"g/p","status":"failure","started":"2026-03-01T11:58:00Z","finished":"2026-03-01T11:59:30+00:00",
		"id":7,"version":1.2,"url":"https://gitlab.example/-/jobs/7","stage":"s","ref":"r","sha":"c","pipeline":12345678901234567890,"runner":"u","source":"push","other":{"x":[1]}}`
	want := job.Job{
		Name: "a", Project: "g/p", Status: job.Failed, Job: "a 1/5",
		Started: now.Add(-2 * time.Minute), Finished: now.Add(-30 * time.Second), Timed: true, Duration: 90 * time.Second,
		ID: "7", Version: "1.2", URL: "https://gitlab.example/-/jobs/7",
		Stage: "s", Ref: "r", SHA: "c", Pipeline: "12345678901234567890", Runner: "u", Source: "push",
	}
	line := strings.Join(strings.Fields(object), " ")
	postQuery := httptest.NewRequest(http.MethodPost, "/steps?"+query, nil)
	mixed := post(formType, "status=failure&project=g%2Fp")
	mixed.URL.RawQuery = strings.Replace(query, "status=failure", "status=success", 1) // the body's wins
	for name, r := range map[string]*http.Request{
		"GET":            get(query),
		"form":           post(formType, query),
		"form, odd case": post(formType, strings.NewReplacer("name=", "Name=", "&id=", "&ID=").Replace(query)),
		"form over query": func() *http.Request {
			r := post(formType, "Name=a+1%2F5")
			r.URL.RawQuery = strings.Replace(query, "name=a", "name=b", 1)
			return r
		}(),
		"twice, odd case":     get(query + "&Id=8&iD=9&NAME=c"),
		"JSON, odd case":      post(jsonType, strings.NewReplacer(`"name"`, `"Name"`, `"id"`, `"ID"`).Replace(object)),
		"form with charset":   post(formType+"; charset=utf-8", query),
		"POST with query":     postQuery,
		"form and query":      mixed,
		"JSON object":         post(jsonType, object),
		"JSON with charset":   post("application/json; charset=UTF-8", object),
		"JSON with BOM":       post(jsonType, "\uFEFF"+object),
		"array":               post(jsonType, "["+object+"]"),
		"NDJSON":              post(ndjson, line+"\n"),
		"NDJSON, blank lines": post("application/jsonl", "\r\n"+line+"\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor()
			response, body := d.ask(t, r)
			if response.StatusCode != http.StatusOK || body != `{"recorded":1,"duplicates":0,"warnings":[],"rejected":[]}`+"\n" {
				t.Errorf("%s: %s", response.Status, body)
			}
			if diff := cmp.Diff([]job.Job{want}, d.recorded); diff != "" {
				t.Errorf("recorded (-want +got):\n%s", diff)
			}
		})
	}
}

// The curl line of the documentation, with its impossible date.
func TestImpossibleDate(t *testing.T) {
	d := newDoor()
	response, body := d.ask(t, get("started=2023-05023T13:01:00Z&status=failed&project=dummy-project&name=dotnet_build"))
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", response.Status, body)
	}
	var a steps.Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatal(err)
	}
	if a.Recorded != 1 || len(a.Warnings) != 1 || a.Warnings[0].Field != "started" || a.Warnings[0].Reason != job.UnreadableTime {
		t.Errorf("answer: %s", body)
	}
	if j := d.recorded[0]; j.Timed || !j.Started.IsZero() || !j.Finished.Equal(now) {
		t.Errorf("recorded: %+v", j)
	}
}

// What can't be read as a whole records nothing and says what to send.
func TestRefusedRequests(t *testing.T) {
	good := `{"name":"n","project":"p","status":"success"}`
	with := func(r *http.Request, header, value string) *http.Request {
		r.Header.Set(header, value)
		return r
	}
	method := func(m string) *http.Request {
		return httptest.NewRequest(m, "/steps?name=n&project=p&status=success", nil)
	}
	half := func(r *http.Request) *http.Request {
		r.Body = io.NopCloser(iotest.TimeoutReader(iotest.OneByteReader(r.Body)))
		return r
	}
	for name, test := range map[string]struct {
		request *http.Request
		status  int
		detail  string
	}{
		"HEAD":             {method(http.MethodHead), 405, "GET or POST"},
		"PUT":              {method(http.MethodPut), 405, "GET or POST"},
		"OPTIONS":          {method(http.MethodOptions), 405, "GET or POST"},
		"cross-site":       {with(get("name=n&project=p&status=success"), "Sec-Fetch-Site", "cross-site"), 403, "another site"},
		"cross-site form":  {with(post(formType, "name=n&project=p&status=success"), "Sec-Fetch-Site", "cross-site"), 403, "another site"},
		"prefetch":         {with(get("name=n&project=p&status=success"), "Purpose", "prefetch"), 403, "prefetch"},
		"sec-prefetch":     {with(get("name=n&project=p&status=success"), "Sec-Purpose", "prefetch;prerender"), 403, "prefetch"},
		"bad escape":       {get("name=%zz&project=p"), 400, "escape"},
		"no type":          {post("", good), 415, "application/json"},
		"text":             {post("text/plain", good), 415, "text/plain"},
		"multipart":        {post("multipart/form-data; boundary=x", good), 415, "application/json"},
		"broken type":      {post("application/json; charset", good), 415, "application/json"},
		"JSON as form":     {post(formType, good), 415, "-H 'Content-Type: application/json'"},
		"gzip":             {with(post(jsonType, good), "Content-Encoding", "gzip"), 415, "as it is"},
		"half a body":      {half(post(jsonType, good)), 408, "did not arrive whole"},
		"bad form":         {post(formType, "name=%zz"), 400, "escape"},
		"empty JSON":       {post(jsonType, " \n"), 400, "empty"},
		"empty NDJSON":     {post(ndjson, "\n\n"), 400, "empty"},
		"not JSON":         {post(jsonType, `{"name":"say "hi""}`), 400, "at byte 15"},
		"two objects":      {post(jsonType, good+good), 400, "not one JSON value"},
		"broken array":     {post(jsonType, "["+good+","), 400, "not a JSON array"},
		"endless nesting":  {post(jsonType, strings.Repeat("[", 100_000)), 400, "depth"},
		"too large":        {post(jsonType, strings.Repeat(" ", steps.MaxBody)+good), 413, "1048576 bytes"},
		"too many":         {post(jsonType, "["+strings.Repeat("{},", steps.MaxItems)+"{}]"), 413, "too many jobs"},
		"too many lines":   {post(ndjson, strings.Repeat("{}\n", steps.MaxItems+1)), 413, "at most 10000"},
		"too many and bad": {post(jsonType, "["+strings.Repeat("1,", 2*steps.MaxItems)+"1]"), 413, "at most 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor()
			response, body := d.ask(t, test.request)
			var p steps.ProblemDetails
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status || p.Status != test.status || p.Title != http.StatusText(test.status) {
				t.Errorf("%s: %s, want %d", response.Status, body, test.status)
			}
			if !strings.Contains(p.Detail, test.detail) {
				t.Errorf("detail: %s\nwant something with: %s", p.Detail, test.detail)
			}
			if len(d.recorded) > 0 {
				t.Errorf("recorded: %+v", d.recorded)
			}
			if !slices.Equal(d.refused, []int{test.status}) || len(d.observed)+len(d.found) > 0 {
				t.Errorf("counted: refused %v, observed %v, %v", d.refused, d.observed, d.found)
			}
			if !slices.Equal(d.details, []string{p.Detail}) || !slices.Equal(d.senders, []string{"192.0.2.1"}) {
				t.Errorf("told: %q from %q", d.details, d.senders)
			}
			if (response.StatusCode == 405) != (response.Header.Get("Allow") == "GET, POST") {
				t.Errorf("Allow: %q", response.Header.Get("Allow"))
			}
		})
	}
}

// What is wrong with one item costs that item, and is told with its index.
func TestBadItems(t *testing.T) {
	const good = `{"name":"n","project":"p","status":"success"}`
	bad := []struct {
		item   string
		field  string
		reason job.Reason
	}{
		{`17`, "", job.NotAnObject},
		{`[` + good + `]`, "", job.NotAnObject},
		{`null`, "", job.NotAnObject},
		{`{"name":["n"],"project":"p","status":"success"}`, "name", job.WrongType},
		{`{"name":"n","project":true,"status":"success"}`, "project", job.WrongType},
		{`{"name":"n","project":{},"status":"success"}`, "project", job.WrongType},
		{`{"name":"n","project":"p","status":"success","id":{}}`, "id", job.WrongType},
		{`{"name":"\ud800","project":"p","status":"success"}`, "name", job.InvalidUTF8},
		{`{"name":"a\\ufffd\ud800","project":"p","status":"success"}`, "name", job.InvalidUTF8},
		{`{"name":"\udc00\ud800","project":"p","status":"success"}`, "name", job.InvalidUTF8},
		{"{\"name\":\"\xff\",\"project\":\"p\",\"status\":\"success\"}", "", job.InvalidUTF8},
		{`{"name":null,"project":"p","status":"success"}`, "name", job.Missing},
		{`{"name":"n","status":"success"}`, "project", job.Missing},
		{`{"name":"CI_JOB_NAME","project":"p","status":"success"}`, "name", job.UnexpandedVariable},
		{`{"name":"` + strings.Repeat("n", 256) + `","project":"p","status":"success"}`, "name", job.TooLong},
	}
	var items []string
	for _, b := range bad {
		items = append(items, b.item, good)
	}
	check := func(t *testing.T, r *http.Request, broken int) {
		t.Helper()
		d := newDoor()
		response, body := d.ask(t, r)
		var a steps.Answer
		if err := json.Unmarshal([]byte(body), &a); err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", response.Status, body)
		}
		if a.Recorded != len(bad) || len(d.recorded) != len(bad) || len(a.Rejected) != len(bad)+broken {
			t.Fatalf("answer: %s", body)
		}
		for i, b := range bad {
			p := a.Rejected[i]
			if p.Index != 2*i || p.Field != b.field || p.Reason != b.reason || p.Remedy == "" {
				t.Errorf("%s: %+v", b.item, p)
			}
		}
		if len(d.observed) != 1 || d.observed[0].Rejected[job.NotAnObject] != 3 || len(d.refused) > 0 {
			t.Errorf("counted: %v", d.observed)
		}
	}
	t.Run("array", func(t *testing.T) {
		check(t, post(jsonType, "["+strings.Join(items, ",")+"]"), 0)
	})
	t.Run("NDJSON", func(t *testing.T) {
		check(t, post(ndjson, strings.Join(items, "\n")), 0)
	})
	t.Run("NDJSON with a broken line", func(t *testing.T) {
		check(t, post(ndjson, strings.Join(items, "\n")+"\n{\"name\":\n"), 1)
	})
}

// A field that may be left out costs itself only.
func TestOptionalOfWrongType(t *testing.T) {
	d := newDoor()
	_, body := d.ask(t, post(jsonType, `{"name":"n","project":"p","status":"success","version":{"a":1},"url":true,"duration":[1]}`))
	var a steps.Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatal(err)
	}
	if a.Recorded != 1 || len(a.Warnings) != 3 || a.Warnings[0].Reason != job.WrongType || len(a.Rejected) != 0 {
		t.Errorf("answer: %s", body)
	}
	if diff := cmp.Diff([]job.Job{{Name: "n", Project: "p", Status: job.Success, Finished: now}}, d.recorded); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

// A pair of surrogates is a character.
func TestPairsOfSurrogates(t *testing.T) {
	d := newDoor()
	d.ask(t, post(jsonType, `{"name":"\ud83d\ude00 \\ud800 \u00e9\ufffd","project":"p","status":"success"}`))
	if len(d.recorded) != 1 || d.recorded[0].Name != `😀 \ud800 é`+"\uFFFD" {
		t.Errorf("recorded: %+v", d.recorded)
	}
}

// A small request does not get a huge answer, but all of it is counted.
func TestManyProblems(t *testing.T) {
	d := newDoor()
	line := `{"name":"n","project":"p","status":"?","duration":"?","url":"?"}` + "\n"
	_, body := d.ask(t, post(ndjson, strings.Repeat(line, 1500)+strings.Repeat("?\n", 1500)))
	var a steps.Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatal(err)
	}
	if a.Recorded != 1500 || len(a.Warnings) != 1000 || len(a.Rejected) != 1000 || a.Unlisted != 4000 {
		t.Errorf("%d recorded, %d warnings, %d rejected, %d unlisted", a.Recorded, len(a.Warnings), len(a.Rejected), a.Unlisted)
	}
	if n := d.observed[0]; n.Warned[job.UnknownStatus] != 1500 || n.Warned[job.NotALink] != 1500 || n.Rejected[job.NotJSON] != 1500 {
		t.Errorf("counted: %+v", n)
	}
}

// Nothing good: an error that lists what to mend.
func TestAllBad(t *testing.T) {
	d := newDoor()
	response, body := d.ask(t, get("name=n&status=success&project=$CI_PROJECT_PATH"))
	var p steps.ProblemDetails
	if err := json.Unmarshal([]byte(body), &p); err != nil || response.StatusCode != http.StatusBadRequest {
		t.Fatalf("%s: %s", response.Status, body)
	}
	if len(p.Rejected) != 1 || p.Rejected[0].Field != "project" || !strings.Contains(p.Rejected[0].Remedy, `"$CI_PROJECT_PATH"`) {
		t.Errorf("rejected: %+v", p.Rejected)
	}
	if len(d.observed) != 1 || d.observed[0].Rejected[job.UnexpandedVariable] != 1 {
		t.Errorf("observed: %+v", d.observed)
	}
	if response, body = d.ask(t, post(jsonType, "[]")); response.StatusCode != http.StatusOK {
		t.Errorf("no job at all is no error: %s: %s", response.Status, body)
	}
}

func TestDuplicatesAndFailures(t *testing.T) {
	d := newDoor()
	d.known = 1
	good := `{"name":"n","project":"p","status":"success"}`
	if _, body := d.ask(t, post(jsonType, "["+good+","+good+"]")); !strings.HasPrefix(body, `{"recorded":1,"duplicates":1,`) {
		t.Errorf("answer: %s", body)
	}
	d.err = errors.New("the disk is on fire")
	response, body := d.ask(t, post(jsonType, good))
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "1" ||
		!strings.Contains(body, "the disk is on fire") {
		t.Errorf("%s, Retry-After %q: %s", response.Status, response.Header.Get("Retry-After"), body)
	}
	d.ask(t, post(jsonType, `{"name":"n","project":"p","status":"?"}`))
	if len(d.observed) != 1 || len(d.found) > 0 {
		t.Errorf("%d answers observed, %v: a request that will be sent again must not count", len(d.observed), d.found)
	}
}

// Whatever is sent, whichever way: no panic, no 5xx, an answer that adds up, and
// nothing recorded that package job would not accept.
func FuzzSteps(f *testing.F) {
	f.Add("", "", "name=n&project=p&status=success", true)
	f.Add(formType, "name=n 1/2&project=p&status=failure&started=2026-03-01T11:58:00 01:00&id=1", "", false)
	f.Add(formType, "name=%ff&project=%00&status=%zz&;", "status=x", false)
	f.Add(jsonType, `{"name":"n","project":"p","status":"success","duration":1e300,"id":18446744073709551616}`, "", false)
	f.Add(jsonType, `[{"name":"\ud800","project":"p"},1,null,[],{"name":{}}]`, "", false)
	f.Add(ndjson, "{\"name\":\"n\",\"project\":\"p\",\"status\":\"success\"}\n{\"na\n\n\xff", "", false)
	f.Add("application/json; charset=\"", "\uFEFF{}", "%", false)
	f.Fuzz(func(t *testing.T, contentType, body, query string, isGet bool) {
		method := http.MethodPost
		if isGet {
			method = http.MethodGet
		}
		r := httptest.NewRequest(method, "/steps", strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", contentType)
		d := newDoor()
		response, text := d.ask(t, r)
		switch response.StatusCode {
		case 200, 400, 413, 415:
		default:
			t.Fatalf("%s: %s", response.Status, text)
		}
		var a steps.Answer
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode == 200 && (a.Recorded != len(d.recorded) || len(a.Rejected) > 0 && a.Recorded == 0) ||
			response.StatusCode != 200 && len(d.recorded) > 0 || len(d.observed)+len(d.refused) != 1 {
			t.Fatalf("%s: %s\nrecorded %+v, counted %v %v", response.Status, text, d.recorded, d.observed, d.refused)
		}
		d.checkFound(t)
		for i := range d.recorded {
			checkJob(t, &d.recorded[i])
		}
	})
}

// checkJob holds a recorded job against what package job promises.
func checkJob(t *testing.T, j *job.Job) {
	t.Helper()
	again := job.Report{
		Name: j.Name, Project: j.Project, Status: string(j.Status), ID: j.ID, Version: j.Version, Job: j.Job, URL: j.URL,
		Stage: j.Stage, Ref: j.Ref, SHA: j.SHA, Pipeline: j.Pipeline, Runner: j.Runner, Source: j.Source,
		Finished: j.Finished.Format(time.RFC3339Nano),
	}
	if v := again.Check(now, 90*24*time.Hour); !v.Accepted() || len(v.Warnings) > 0 {
		t.Fatalf("%+v is not acceptable: %+v", j, v)
	}
	if j.Timed && (j.Duration < 0 || j.Duration > job.MaxDuration || j.Duration%time.Microsecond != 0) {
		t.Fatalf("duration %v", j.Duration)
	}
}

func ExampleHandler() {
	handler := steps.Handler(steps.Options{
		Record: func(_ time.Time, jobs []job.Job) (int, error) {
			fmt.Println(jobs[0].Name, jobs[0].Status)
			return len(jobs), nil
		},
		Retention: 90 * 24 * time.Hour,
		Now:       time.Now,
	})
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/steps?name=test+1/5&project=group/app&status=passed", nil))
	fmt.Print(w.Body)
	// Output:
	// test success
	// {"recorded":1,"duplicates":0,"warnings":[],"rejected":[]}
}
