package exposition_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
	"ci-jobs-metrics/internal/totals"
)

// TestIncremental scrapes totals again and again while they change in every way. Each
// document is the one that a fresh Exposition writes of the same totals, byte for byte,
// and what a naive look at the totals gives.
func TestIncremental(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // nothing is secret
			h := newHistory(random)
			incremental := of(exposition.Both, h.seen)
			for range 15 {
				h.step()
				expected := expositiontest.Expect(h.twin.Snapshot())
				for range random.IntN(4) {
					format, packed := formats[random.IntN(len(formats))], random.IntN(2) == 0
					got := get(t, incremental, format, packed)
					want := get(t, of(exposition.Both, h.twin), format, packed)
					if !bytes.Equal(got, want) {
						t.Fatalf("%s, gzip %t:\n%s\nfresh:\n%s", format.ContentType(), packed, got, want)
					}
					if random.IntN(3) == 0 { // it takes longer than the rest
						diffExpected(t, expected, format, parse(t, format, got))
					}
				}
			}
		})
	}
}

// A history happens to two totals alike. (Each has one feed.)
type history struct {
	random     *rand.Rand
	seen, twin *totals.Totals
	row        int64
}

func newHistory(random *rand.Rand) *history {
	s := randomSettings(random)
	return &history{random: random, seen: totals.New(s), twin: totals.New(s), row: 1}
}

func randomSettings(random *rand.Rand) totals.Settings {
	return totals.Settings{
		Bounds:  [][]float64{expositiontest.Bounds, {0.001, 1, 1e6}, {}}[random.IntN(3)],
		Labels:  [][]string{nil, {"version"}, {"stage", "version"}}[random.IntN(3)],
		MaxSets: []int{0, 0, 7, 40}[random.IntN(4)],
	}
}

func (h *history) step() {
	both := []*totals.Totals{h.seen, h.twin}
	switch h.random.IntN(20) {
	case 0:
		s := randomSettings(h.random)
		for _, all := range both {
			all.Configure(s, h.row)
		}
	case 1:
		for _, all := range both {
			all.Forget("x", "", h.row)
		}
	default:
		for range h.random.IntN(5) {
			jobs := expositiontest.Random(h.random.Uint64(), "x", "y z", "group/a", strconv.Itoa(h.random.IntN(200)), `"\`)
			applyAll(jobs, h.row, both...)
			h.row += int64(len(jobs))
		}
	}
}

// get asks the handler, and unpacks what it answers.
func get(t testing.TB, e *exposition.Exposition, format exposition.Format, packed bool) []byte {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", format.ContentType())
	if packed {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	w := httptest.NewRecorder()
	e.Handler(true, nil).ServeHTTP(w, r)
	body, err := checked(w.Code, w.Header(), w.Body.Bytes(), packed)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// checked holds the headers against the body, and unpacks it.
func checked(status int, h http.Header, body []byte, packed bool) ([]byte, error) {
	if status != http.StatusOK || h.Get("Content-Length") != strconv.Itoa(len(body)) {
		return nil, fmt.Errorf("status %d, %d bytes, Content-Length %s", status, len(body), h.Get("Content-Length"))
	}
	if !packed {
		return body, nil
	}
	rest := bytes.NewReader(body)
	z, err := gzip.NewReader(rest)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	z.Multistream(false)
	body, err = io.ReadAll(z)
	if err != nil || rest.Len() > 0 {
		return nil, fmt.Errorf("gzip: %w, %d bytes behind the member", err, rest.Len())
	}
	return body, nil
}
