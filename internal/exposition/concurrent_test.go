package exposition_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// TestConcurrentScrapes scrapes in all formats, some slowly, while jobs are counted.
func TestConcurrentScrapes(t *testing.T) {
	all := totals.New(settings)
	e := of(exposition.Both, all)
	stop := make(chan struct{})
	var applying, scraping sync.WaitGroup
	applying.Go(func() {
		for row := int64(1); ; row++ {
			select {
			case <-stop:
				return
			default:
				j := randomJob(int(row / 500))
				all.Apply(row, time.Unix(1e9+row, 0), &j)
			}
		}
	})
	for i := range 8 {
		scraping.Go(func() {
			if err := scrapeAgain(t.Context(), e, formats[i%len(formats)], i%2 == 0, time.Duration(i/4)*20*time.Millisecond); err != nil {
				t.Error(err)
			}
		})
	}
	scraping.Wait()
	close(stop)
	applying.Wait()
}

// randomJob is of one of few templates and, as time goes by, more projects.
func randomJob(projects int) job.Job {
	return job.Job{
		Name:     fmt.Sprintf("template %d", rand.IntN(5)),
		Project:  fmt.Sprintf("project-%d", rand.IntN(1+min(projects, 100))),
		Status:   job.Statuses[rand.IntN(2)],
		ID:       "1",
		Timed:    true,
		Duration: time.Duration(rand.IntN(2000)) * time.Second,
	}
}

// scrapeAgain scrapes some times, and checks each document by itself and beside the one
// before.
func scrapeAgain(ctx context.Context, e *exposition.Exposition, format exposition.Format, packed bool, delay time.Duration) error {
	before := map[string]float64{}
	for range 6 {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", format.ContentType())
		if packed {
			r.Header.Set("Accept-Encoding", "gzip")
		}
		w := &slowWriter{ResponseRecorder: httptest.NewRecorder(), delay: delay}
		e.Handler(true, nil).ServeHTTP(w, r)
		body, err := checked(w.Code, w.Header(), w.Body.Bytes(), packed)
		if err != nil {
			return err
		}
		doc, err := expositiontest.Parse(format.ContentType(), body)
		if err != nil {
			return err
		}
		values := doc.Values()
		for k, v := range before {
			if now, there := values[k]; !there || now < v {
				return fmt.Errorf("%s: %s fell from %v to %v", format.ContentType(), k, v, now)
			}
		}
		before = values
		if err := viewsAgree(doc); err != nil {
			return err
		}
	}
	return nil
}

// viewsAgree compares the sums of each template in both views, of jobs and of timed ones.
func viewsAgree(doc *expositiontest.Document) error {
	sums := map[string]float64{}
	for _, f := range doc.Families {
		for i := range f.Samples {
			s := &f.Samples[i]
			switch template := s.Label("template"); {
			case s.Name == "cijob_runs_total":
				sums[expositiontest.Metric(template, "_total")] += s.Value
			case s.Name == "cijob_duration_seconds_count":
				sums[expositiontest.Metric(template, "_duration")+"_count"] += s.Value
			case template == "" && s.Label("le") == "":
				sums[s.Name] -= s.Value
			}
		}
	}
	for name, difference := range sums {
		if difference != 0 && len(name) > 4 && name[len(name)-4:] != "_sum" {
			return fmt.Errorf("%s: the views differ by %v", name, difference)
		}
	}
	return nil
}

type slowWriter struct {
	*httptest.ResponseRecorder
	delay time.Duration
}

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(w.delay)
	return w.ResponseRecorder.Write(p)
}

// TestSlowClient stops a client in the middle of an answer. Jobs are counted and others
// scrape meanwhile, and it gets the document of the moment at which it asked.
func TestSlowClient(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for _, format := range formats {
			jobs := incompressible(6000)
			all := expositiontest.Totals(jobs, settings)
			e := of(exposition.Both, all)
			want := get(t, e, format, packed)
			first := &stuckWriter{ResponseRecorder: httptest.NewRecorder(), stuck: make(chan struct{}), on: make(chan struct{})}
			done := make(chan struct{})
			go func() {
				defer close(done)
				r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil)
				r.Header.Set("Accept", format.ContentType())
				if packed {
					r.Header.Set("Accept-Encoding", "gzip")
				}
				e.Handler(true, nil).ServeHTTP(first, r)
			}()
			<-first.stuck
			for range 2 {
				applyAll(jobs, 1, all)
				if bytes.Equal(get(t, e, format, packed), want) {
					t.Error("the jobs of since are missing")
				}
			}
			close(first.on)
			<-done
			body, err := checked(first.Code, first.Header(), first.Body.Bytes(), packed)
			if err != nil || !bytes.Equal(body, want) {
				t.Errorf("%s, gzip %t: not the document of the moment: %v", format.ContentType(), packed, err)
			}
		}
	}
}

// incompressible jobs make documents that take several writes even if packed.
func incompressible(n int) []job.Job {
	jobs := make([]job.Job, n)
	for i := range jobs {
		jobs[i] = job.Job{Name: "x", Project: fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)})),
			Status: job.Success, Timed: true, Duration: time.Duration(i) * time.Second}
	}
	return jobs
}

type stuckWriter struct {
	*httptest.ResponseRecorder
	once      sync.Once
	stuck, on chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.stuck); <-w.on })
	return w.ResponseRecorder.Write(p)
}

// TestGiveUp checks that a client that is gone doesn't wait for its turn.
func TestGiveUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	e := of(exposition.Both, totals.New(settings))
	release := e.Occupy()
	defer release()
	time.AfterFunc(10*time.Millisecond, func() { cancel(gone) })
	if err := e.Render(ctx, &bytes.Buffer{}, exposition.Text, true, nil); !errors.Is(err, gone) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

// TestWaitForNobody ends an answer, and asks for the receiver's own metrics, while another
// scrape takes long to render.
func TestWaitForNobody(t *testing.T) {
	e := of(exposition.Both, expositiontest.Totals(manyJobs(1000), settings))
	w := &occupier{ResponseRecorder: httptest.NewRecorder(), occupy: e.Occupy}
	for name, handler := range map[string]http.Handler{"an answer": e.Handler(true, nil), "self": e.Handler(false, exposition.NewRegistry())} {
		if name == "self" {
			w.once.Do(func() { w.release = e.Occupy() })
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			handler.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil))
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Errorf("%s waits for another scrape", name)
		}
		w.release()
		<-done
		w.once = sync.Once{}
	}
}

// An occupier lets another scrape begin while its own answer is written.
type occupier struct {
	*httptest.ResponseRecorder
	once    sync.Once
	occupy  func() (release func())
	release func()
}

func (w *occupier) Write(p []byte) (int, error) {
	w.once.Do(func() { w.release = w.occupy() })
	return w.ResponseRecorder.Write(p)
}

// TestRelease asks once in each format, and then in two only: what the others took is
// given back after ten minutes, and comes again when it is asked for.
func TestRelease(t *testing.T) {
	now := time.Unix(1e9, 0)
	all := expositiontest.Totals(manyJobs(5000), settings)
	e := exposition.New(exposition.Options{Feed: all.Feed(), Now: func() time.Time { return now }})
	get(t, e, exposition.OpenMetrics, false)
	get(t, e, exposition.Text, true)
	two := e.Kept()
	want := map[exposition.Format][]byte{}
	for _, format := range formats {
		want[format] = get(t, e, format, false)
		get(t, e, format, true)
	}
	if all := e.Kept(); all < 2*two {
		t.Errorf("%d bytes are kept after two formats and %d after all", two, all)
	}
	for i := range 3 {
		now = now.Add(5 * time.Minute)
		if i < 2 {
			get(t, e, exposition.OpenMetrics, false)
		}
		get(t, e, exposition.Text, true) // at last it is the one to give back, and keeps the other
	}
	if left := e.Kept(); left != two {
		t.Errorf("%d bytes are left, want %d", left, two)
	}
	for _, format := range formats {
		if !bytes.Equal(get(t, e, format, false), want[format]) {
			t.Errorf("%s is different when it comes again", format.ContentType())
		}
	}
}
