package watch_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/exporter/watch"
	"ci-jobs-metrics/internal/logtest"
)

const patience = 10 * time.Second // how long something that must come is waited for

// A site is a directory tree with one watched file in it.
type site struct {
	t    *testing.T
	root string
	path string
	w    *watch.Watcher
}

func newSite(t *testing.T, file string, o watch.Options) *site {
	t.Helper()
	s := &site{t: t, root: t.TempDir()}
	s.path = filepath.Join(s.root, file)
	s.w = watch.Start(s.path, o)
	t.Cleanup(s.w.Close)
	return s
}

func (s *site) at(name string) string { return filepath.Join(s.root, name) }

func (s *site) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) mkdir(name string) { s.t.Helper(); s.do(os.MkdirAll(s.at(name), 0o755)) }
func (s *site) mv(from, to string) {
	s.t.Helper()
	s.do(os.Rename(s.at(from), s.at(to)))
}
func (s *site) write(name, text string) {
	s.t.Helper()
	s.do(os.WriteFile(s.at(name), []byte(text), 0o644))
}

// seen waits until a signal says that the file is worth reading and it has the
// text, or doesn't exist if the text is empty.
func (s *site) seen(text string) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case <-s.w.C:
			if got, _ := os.ReadFile(s.path); string(got) == text {
				return
			}
		case <-deadline:
			s.t.Fatalf("never saw %q", text)
		}
	}
}

// quiet waits for signals to stop.
func (s *site) quiet() {
	for {
		select {
		case <-s.w.C:
		case <-time.After(60 * time.Millisecond):
			return
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		play func(s *site)
	}{
		"there before": {"f", func(s *site) {
			s.write("f", "1")
			s.seen("1")
		}},
		"written later": {"f", func(s *site) {
			s.quiet()
			s.write("f", "1")
			s.seen("1")
		}},
		"appended": {"f", func(s *site) {
			s.write("f", "1")
			s.seen("1")
			s.quiet()
			f, err := os.OpenFile(s.at("f"), os.O_APPEND|os.O_WRONLY, 0)
			s.do(err)
			_, err = f.WriteString("2")
			s.do(err)
			s.do(f.Close())
			s.seen("12")
		}},
		"moved into place": {"f", func(s *site) {
			s.write("tmp", "1")
			s.quiet()
			s.mv("tmp", "f")
			s.seen("1")
		}},
		"linked into place": {"f", func(s *site) {
			s.write("tmp", "1")
			s.quiet()
			s.do(os.Link(s.at("tmp"), s.at("f")))
			s.seen("1")
		}},
		"deleted and written again": {"f", func(s *site) {
			s.write("f", "1")
			s.seen("1")
			s.do(os.Remove(s.at("f")))
			s.seen("")
			s.write("f", "2")
			s.seen("2")
		}},
		"moved away": {"f", func(s *site) {
			s.write("f", "1")
			s.seen("1")
			s.quiet()
			s.mv("f", "old")
			s.seen("")
		}},
		"directory missing": {"a/f", func(s *site) {
			s.quiet()
			s.mkdir("a")
			s.write("a/f", "1")
			s.seen("1")
		}},
		"several directories missing": {"a/b/c/d/f", func(s *site) {
			s.quiet()
			s.mkdir("a/b")
			s.quiet()
			s.mkdir("a/b/c/d")
			s.write("a/b/c/d/f", "1")
			s.seen("1")
		}},
		"tree moved into place": {"a/b/c/f", func(s *site) {
			s.mkdir("tmp/b/c")
			s.write("tmp/b/c/f", "1")
			s.quiet()
			s.mv("tmp", "a")
			s.seen("1")
			s.quiet()
			s.write("a/b/c/f", "2")
			s.seen("2")
		}},
		"directory deleted and made again": {"a/f", func(s *site) {
			s.mkdir("a")
			s.write("a/f", "1")
			s.seen("1")
			s.do(os.RemoveAll(s.at("a")))
			s.seen("")
			s.mkdir("a")
			s.write("a/f", "2")
			s.seen("2")
		}},
		"directory moved away and replaced": {"a/f", func(s *site) {
			s.mkdir("a")
			s.write("a/f", "1")
			s.seen("1")
			s.mv("a", "old")
			s.seen("")
			s.mkdir("a")
			s.quiet()
			s.write("a/f", "2")
			s.seen("2")
		}},
		"directory further up replaced": {"a/b/c/f", func(s *site) {
			s.mkdir("a/b/c")
			s.quiet()
			s.mv("a", "old")
			s.mkdir("a/b/c")
			s.quiet()
			s.write("a/b/c/f", "2")
			s.seen("2")
		}},
		"file in place of a directory": {"a/f", func(s *site) {
			s.write("a", "in the way")
			s.quiet()
			s.do(os.Remove(s.at("a")))
			s.mkdir("a")
			s.quiet()
			s.write("a/f", "1")
			s.seen("1")
		}},
		"directory by a link": {"a/f", func(s *site) {
			s.mkdir("real")
			s.quiet()
			s.do(os.Symlink("real", s.at("a")))
			s.quiet()
			s.write("real/f", "1")
			s.seen("1")
		}},
		"link to the same directory": {"a/here/f", func(s *site) {
			s.mkdir("a")
			s.do(os.Symlink(".", s.at("a/here")))
			s.quiet()
			s.write("a/f", "1")
			s.seen("1")
		}},
		"link to a file": {"f", func(s *site) {
			s.do(os.Symlink("real", s.at("f")))
			s.quiet()
			s.write("real", "1")
			s.seen("1")
		}},
		"mode changed": {"f", func(s *site) {
			s.write("f", "1")
			s.do(os.Chmod(s.at("f"), 0))
			s.seen("1") // the test may be root; it is the signal that matters
			s.quiet()
			s.do(os.Chmod(s.at("f"), 0o644))
			s.seen("1")
		}},
		"busy neighbours": {"f", func(s *site) {
			for i := range 2000 {
				s.write(fmt.Sprintf("n%d", i%10), "x")
			}
			s.write("f", "1")
			s.seen("1")
		}},
	} {
		for _, poll := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, poll=%v", name, poll), func(t *testing.T) {
				t.Parallel()
				c.play(newSite(t, c.file, watch.Options{Poll: poll}))
			})
		}
	}
}

// Other files of the directory cause no signals.
func TestNeighboursAreIgnored(t *testing.T) {
	t.Parallel()
	s := newSite(t, "f", watch.Options{})
	s.quiet()
	for range 100 {
		s.write("ff", "x")
	}
	select {
	case <-s.w.C:
		t.Error("a neighbour was announced")
	case <-time.After(200 * time.Millisecond):
	}
}

// Where the file is polled the log says why, once.
func TestPollingIsExplained(t *testing.T) {
	t.Parallel()
	var log logtest.Buffer
	s := newSite(t, "f", watch.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	s.do(os.Symlink("real", s.path))
	s.quiet()
	s.write("real", "1")
	s.seen("1")
	if got := log.String(); strings.Count(got, "symbolic link") != 1 || strings.Count(got, "\n") != 1 {
		t.Errorf("log: %s", got)
	}
	// And it ends when there is no reason any more.
	s.do(os.Remove(s.path))
	s.quiet()
	s.write("f", "2")
	s.seen("2")
}

func TestRootAndRelative(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "no-such-file", "../no/such/file", ""} {
		w := watch.Start(path, watch.Options{})
		select {
		case <-w.C:
		case <-time.After(patience):
			t.Errorf("%q: no signal at the start", path)
		}
		w.Close()
	}
}
