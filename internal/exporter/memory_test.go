package exporter

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/internal/exporter/file"
	"ci-jobs-metrics/internal/logtest"
)

// What is remembered is bounded, in memory and on disk, and the newest jobs stay.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	m := remember(path, slog.New(slog.DiscardHandler))
	now := time.Now().UnixNano()
	const jobs = maxFiles + maxFiles/4
	for i := range jobs {
		name := fmt.Sprint(1+i, ".json")
		m.add(name, uint64(i))
		m.set(name, record{size: 1, modified: now, complete: true})
	}
	m.close()
	if n := len(m.files); n > maxFiles+maxFiles/10 {
		t.Errorf("%d files are remembered", n)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 20<<20 {
		t.Errorf("%v, %v", info, err)
	}
	again := remember(path, slog.New(slog.DiscardHandler))
	for i := jobs - maxFiles; i < jobs; i++ {
		if name := fmt.Sprint(1+i, ".json"); !again.files[name].has(uint64(i)) {
			t.Fatalf("%s is forgotten", name)
		}
	}
	if names := newest([]string{"10.json", "9.json"}); names[0] != "9.json" {
		t.Errorf("the order is %v", names)
	}
}

// The same file that changes over and over is written anew now and then.
func TestMemoryDoesNotGrow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	m := remember(path, slog.New(slog.DiscardHandler))
	for i := range 20_000 {
		m.add("1.json", uint64(i%50))
		m.set("1.json", record{size: int64(i), modified: time.Now().UnixNano(), complete: true})
	}
	m.close()
	if info, err := os.Stat(path); err != nil || info.Size() > 2*slack {
		t.Errorf("%v, %v", info, err)
	}
	if again := remember(path, slog.New(slog.DiscardHandler)); !again.files["1.json"].has(49) || again.files["1.json"].size != 19_999 {
		t.Errorf("remembered %+v", again.files["1.json"])
	}
}

// Jobs may be able to write the file. Whatever it holds, reading it takes little, and
// what is good of it counts.
func TestMemoryOfOthers(t *testing.T) { //nolint:paralleltest // it measures the heap
	now := time.Now().UnixNano()
	good := fmt.Sprintf("99999999.json 7 %d all 2a\n", now)
	shapes := map[string]func(i int) string{
		"the same key again and again": func(i int) string { return fmt.Sprint(i, ".json 1 ", now, " all", strings.Repeat(" 1", 30_000), "\n") },
		"many keys": func(i int) string {
			var b strings.Builder
			fmt.Fprint(&b, i, ".json 1 ", now, " all")
			for k := range 30_000 {
				fmt.Fprintf(&b, " %x", k)
			}
			return b.String() + "\n"
		},
		"many files":    func(i int) string { return fmt.Sprintf("%020d.json 1 %d part\n", i, now) },
		"no line's end": func(int) string { return strings.Repeat("x", 1<<20) },
	}
	for name, line := range shapes { //nolint:paralleltest // as above
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			b := bufio.NewWriter(f)
			fill := func(from, to int) {
				for i := from; from < to; i++ {
					n, err := b.WriteString(line(i))
					if from += n; err != nil {
						t.Fatal(err)
					}
				}
			}
			fill(1, maxRead/4)
			if _, err := b.WriteString("\n" + strings.Replace(good, "99999999", fmt.Sprintf("%020d", 99_999_999), 1) + good); err != nil {
				t.Fatal(err)
			}
			fill(maxRead/4, 2*maxRead)
			if err := errors.Join(b.Flush(), f.Close()); err != nil {
				t.Fatal(err)
			}
			debug.FreeOSMemory()
			before := heap()
			m := remember(path, slog.New(slog.DiscardHandler))
			if grown := heap() - before; grown > 60<<20 {
				t.Errorf("it took %d MB", grown>>20)
			}
			short, long := m.files["99999999.json"], m.files[fmt.Sprintf("%020d.json", 99_999_999)]
			if !short.has(0x2a) && !long.has(0x2a) {
				t.Errorf("what is good is forgotten: %v, %v", short, long)
			}
			if m.tooMany() {
				t.Errorf("%d files and %d keys are remembered", len(m.files), m.keys)
			}
		})
	}
}

// heap is what the heap has of the system now. It gives little back by itself.
func heap() int {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapSys - s.HeapReleased)
}

// A file that is rewritten over and over, each time with as many new items as it can
// hold, takes neither its own line beyond what can be read nor those behind it.
func TestMemoryOfRewrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	m := remember(path, slog.New(slog.DiscardHandler))
	now := time.Now().UnixNano()
	const rewrites = 7
	key := func(rewrite, item int) uint64 { return ^uint64(0) - uint64(rewrite*file.MaxItems+item) }
	for i := range rewrites {
		for k := range file.MaxItems {
			m.add("10.json", key(i, k))
		}
		m.set("10.json", record{size: int64(i), modified: now, complete: true})
	}
	m.add("11.json", 1)
	m.set("11.json", record{size: 1, modified: now, complete: true})
	m.close()
	again := remember(path, slog.New(slog.DiscardHandler))
	for k := range file.MaxItems {
		if !again.files["10.json"].has(key(rewrites-1, k)) {
			t.Fatalf("item %d of the latest is forgotten", k)
		}
	}
	if !again.files["11.json"].has(1) {
		t.Error("the file behind it is forgotten")
	}
	if n := again.files["10.json"].count(); n > 2*file.MaxItems || again.keys != n+1 || m.keys != n+1 {
		t.Errorf("%d keys of it, %d and %d of all", n, again.keys, m.keys)
	}
}

// Several exporters may share a memory. None gives the name to what another is still
// writing, and what one left that was killed goes, but for what may still be written.
func TestMemoryIsShared(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	halfway := path + ".new"
	old, young := path+fresh+strings.Repeat("A", randomLen), path+fresh+strings.Repeat("B", randomLen)
	mine := path + ".new-idea"
	for _, name := range []string{halfway, old, young, mine} {
		if err := os.WriteFile(name, []byte("1.js"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name != young {
			at := time.Now().Add(-2 * leftOver)
			if err := os.Chtimes(name, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	var together sync.WaitGroup
	for job := range 4 {
		together.Go(func() {
			m := remember(path, slog.New(slog.DiscardHandler))
			defer m.close()
			name := fmt.Sprint(job, ".json")
			for k := range file.MaxItems / 2 {
				m.add(name, uint64(k))
			}
			for i := range 50 {
				r := m.files[name] // not by set, which may add to the end: that is seen half, and read so
				r.size, r.modified, r.complete = int64(i), time.Now().UnixNano(), true
				m.saveAll()
				if m.trouble != "" {
					t.Error(m.trouble)
				}
				text, err := os.ReadFile(path)
				if err != nil || !strings.HasPrefix(string(text), memoryHeader) || !strings.HasSuffix(string(text), "\n") {
					t.Errorf("half a memory of %d bytes, %v", len(text), err)
				}
			}
		})
	}
	together.Wait()
	left, _ := filepath.Glob(path + "*")
	if want := []string{path, halfway, young, mine}; !slices.Equal(left, want) {
		t.Errorf("there is %q, want %q", left, want)
	}
}

// Files that are empty cost little, however many there are, and one that is completed
// is delivered.
func TestDirectoryOfEmptyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log logtest.Buffer
	d := newDirectory(Options{Path: dir, Log: slog.New(slog.NewTextHandler(&log, nil)), Environ: func(string) (string, bool) { return "", false }})
	const files = maxOpen + maxOpen/4
	name := func(i int) string { return fmt.Sprint(1+i, ".json") }
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, name(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		d.enqueue(name(i))
	}
	d.work(t.Context())
	d.scan()
	d.work(t.Context())
	if len(d.open) != maxOpen {
		t.Errorf("%d files are kept in mind, want %d", len(d.open), maxOpen)
	}
	if n := strings.Count(log.String(), "kept in mind"); n != 1 {
		t.Errorf("that it is too many was logged %d times", n)
	}
	for _, i := range []int{0, files - 1} {
		if err := os.WriteFile(filepath.Join(dir, name(i)), []byte(`{"name":"a"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		d.enqueue(name(i))
	}
	d.work(t.Context())
	if items, _ := d.delivery.Backlog(); items != 2 {
		t.Errorf("%d items are queued", items)
	}
	if err := d.outcome(); !errors.Is(err, ErrUndelivered) {
		t.Error(err)
	}
}
