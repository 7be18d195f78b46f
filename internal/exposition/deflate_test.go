package exposition_test

import (
	"bytes"
	"hash/crc32"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
)

// FuzzChecksum joins the checksums of two texts, behind any number of zero bytes.
func FuzzChecksum(f *testing.F) {
	f.Add([]byte(""), []byte(""))
	f.Add([]byte("a"), []byte(""))
	f.Add([]byte(""), []byte("b"))
	f.Add([]byte("ci_build_total 1\n"), bytes.Repeat([]byte("x"), 70_000))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		got := exposition.JoinChecksum(crc32.ChecksumIEEE(a), crc32.ChecksumIEEE(b), exposition.CRCShift(len(b)))
		if want := crc32.ChecksumIEEE(append(a[:len(a):len(a)], b...)); got != want {
			t.Errorf("joined: %08x, want %08x", got, want)
		}
	})
}

// TestChecksumShifts holds shifts by lengths beyond any piece against each other.
func TestChecksumShifts(t *testing.T) {
	for _, n := range []int{0, 1, 1 << 29, 1<<32 - 1, 1 << 32, 1 << 40, math.MaxInt / 2} {
		twice := exposition.JoinChecksum(exposition.CRCShift(n), 0, exposition.CRCShift(n))
		if got := exposition.CRCShift(2 * n); got != twice {
			t.Errorf("by %d bytes: %08x, want %08x", 2*n, got, twice)
		}
	}
}

// TestUnpack has others unpack what was put together of pieces: klauspost's reader,
// gzip and curl, as far as they are there.
func TestUnpack(t *testing.T) {
	jobs := manyJobs(3000)
	e := of(exposition.Both, expositiontest.Totals(jobs, settings))
	server := httptest.NewServer(e.Handler(true, exposition.NewRegistry()))
	defer server.Close()
	want := render(t, e, exposition.Text)

	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.HasPrefix(got, want) {
		t.Errorf("klauspost: %v, the jobs are in it: %t", err, bytes.HasPrefix(got, want))
	}
	file := filepath.Join(t.TempDir(), "metrics.gz")
	if err := os.WriteFile(file, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"gzip", "-dc", file}, {"curl", "-sS", "--compressed", server.URL}} {
		if _, err := exec.LookPath(command[0]); err != nil {
			t.Logf("left out: %v", err)
			continue
		}
		got, err := exec.CommandContext(t.Context(), command[0], command[1:]...).Output()
		if err != nil || !bytes.HasPrefix(got, want) {
			t.Errorf("%s: %v, the jobs are in it: %t", command[0], err, bytes.HasPrefix(got, want))
		}
	}
}
