package steps_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/steps"
)

// What large requests take together is bounded; small ones are served meanwhile, and
// everything is given back.
func TestLargeRequestsTogether(t *testing.T) {
	good := `{"name":"n","project":"p","status":"success"}`
	t.Run("many jobs", func(t *testing.T) {
		testTogether(t, strings.Repeat(good+"\n", steps.MaxItems), ndjson, steps.MaxItems)
	})
	t.Run("many lines that are none, in a short body", func(t *testing.T) {
		testTogether(t, strings.Repeat(good+"\n", 20)+strings.Repeat("1\n", 7000), ndjson, 20)
	})
	t.Run("many items that are none, in a short body", func(t *testing.T) {
		testTogether(t, "["+strings.Repeat(good+",", 20)+strings.Repeat("1,", 7000)+"1]", jsonType, 20)
	})
}

// testTogether sends a large request, of which so many jobs are recorded, until there
// is no room for one more.
func testTogether(t *testing.T, largeBody, contentType string, large int) {
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	handler := steps.Handler(steps.Options{
		Record: func(_ time.Time, jobs []job.Job) (int, error) {
			if len(jobs) == large {
				arrived <- struct{}{}
				<-release
			}
			return len(jobs), nil
		},
		Retention: 24 * time.Hour,
		Now:       func() time.Time { return now },
	})
	send := func(jobs int) *httptest.ResponseRecorder {
		body := `{"name":"n","project":"p","status":"success"}`
		if jobs == large {
			body = largeBody
		}
		r := httptest.NewRequest(http.MethodPost, "/steps", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	var taken sync.WaitGroup
	n := 0
	for ; ; n++ { // until one is refused
		if n == 100 {
			t.Fatal("any number of large requests is taken")
		}
		answer := make(chan *httptest.ResponseRecorder, 1)
		taken.Go(func() { answer <- send(large) })
		select {
		case <-arrived:
			continue
		case w := <-answer:
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" ||
				!strings.Contains(w.Body.String(), "too many large requests") {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
		}
		break
	}
	if n < 4 {
		t.Errorf("only %d large requests at a time", n)
	}
	for range 100 {
		if w := send(1); w.Code != http.StatusOK {
			t.Errorf("one job meanwhile: %d: %s", w.Code, w.Body)
		}
	}
	close(release)
	taken.Wait()
	for range n {
		if w := send(large); w.Code != http.StatusOK {
			t.Fatalf("afterwards: %d: %s", w.Code, w.Body)
		}
	}
}
