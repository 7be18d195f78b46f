package receiver_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Questions are answered in the operator's time zone, and counted.
func TestQuestions(t *testing.T) {
	t.Parallel()
	o := options(ledgerPath(t), "127.0.0.1:0")
	zone, err := time.LoadLocation("Asia/Kolkata")
	if err != nil {
		t.Fatal(err)
	}
	o.Zone = zone
	r := start(t, o)
	r.want(t, "/steps?name=build&project=p&status=failed&duration=90", 200)
	r.want(t, "/steps?name=build&project=CI_PROJECT_PATH&status=failed", 400)
	r.want(t, "/api/v1/overview", 200, `"time_zone":"Asia/Kolkata"`, `+05:30`, `"current":{"jobs":1,`)
	r.want(t, "/api/v1/template?name=build", 200, `"current":{"jobs":1,`)
	r.want(t, "/api/v1/failures", 200, `"total":1,`)
	r.want(t, "/api/v1/problems", 200, `"project":"CI_PROJECT_PATH"`)
	r.want(t, "/api/v1/overview?last=soon", 400, `"parameter":"last"`)
	r.want(t, "/api/v1", 404, "/api/v1/overview") // is led to /api/v1/
	r.want(t, "/metrics/self", 200,
		`cijob_receiver_questions_total{question="overview"} 1`,
		`cijob_receiver_questions_total{question="problems"} 1`,
		`cijob_receiver_questions_total{question="versions"} 0`,
		"cijob_receiver_question_duration_seconds_count 4\n")
	r.want(t, "/", 200, `href="/api/v1/overview`, `href="/api/v1/openapi.json"`)
	if response, body := ask(t, r.client, http.MethodPost, r.url+"/api/v1/overview", "", ""); response.StatusCode != 405 || response.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %s: %s", response.Status, body)
	}
}

// Answers reach as far back as the operator chose.
func TestKPIRetention(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	o := options(path, "127.0.0.1:0")
	o.Now = func() time.Time { return now }
	r := start(t, o)
	r.want(t, "/steps?name=build&project=p&status=success", 200)
	r.stop(t)
	later := now.Add(30 * 24 * time.Hour)
	o.Now, o.PruneEvery = func() time.Time { return later }, 10*time.Millisecond
	jobs := func(r *running) string {
		_, body := r.get(t, "/api/v1/overview?last=60d")
		_, rest, _ := strings.Cut(body, `"current":{"jobs":`)
		n, _, _ := strings.Cut(rest, ",")
		return n
	}
	o.KPIRetention = 40 * 24 * time.Hour
	kept := start(t, o)
	time.Sleep(200 * time.Millisecond)
	if n := jobs(kept); n != "1" {
		t.Errorf("%s jobs within the retention", n)
	}
	kept.stop(t)
	o.KPIRetention = 20 * 24 * time.Hour
	r = start(t, o)
	for deadline := time.Now().Add(10 * time.Second); jobs(r) != "0"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s jobs past the retention", jobs(r))
		}
	}
}
