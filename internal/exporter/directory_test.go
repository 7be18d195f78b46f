package exporter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ci-jobs-metrics/internal/exporter"
)

// A yard is a directory that several jobs write to.
type yard struct{ *sidecar }

// newYard has an exporter for a directory that doesn't exist yet.
func newYard(t *testing.T, env environ) yard {
	s := newSidecar(t, env)
	s.path = filepath.Join(filepath.Dir(s.path), "jobs")
	s.options.Path, s.options.Directory = s.path, true
	s.options.ShutdownTimeout = patience
	return yard{s}
}

// host is the environment of an exporter that belongs to no job.
var host = environ{"CI_SERVER_HOST": "gitlab.example", "HOSTNAME": "node"}

func (y yard) at(name string) string { return filepath.Join(y.path, name) }

func (y yard) put(name, text string) {
	y.t.Helper()
	if err := os.MkdirAll(y.path, 0o755); err != nil {
		y.t.Fatal(err)
	}
	if err := os.WriteFile(y.at(name), []byte(text), 0o644); err != nil {
		y.t.Fatal(err)
	}
}

// again is a new exporter for the same directory, as after a restart.
func (y yard) again() yard {
	next := newYard(y.t, nil)
	next.path, next.to = y.path, y.to
	to := next.options.Log
	next.options = y.options
	next.options.Log = to
	return next
}

// stop ends an exporter in order.
func (y yard) stop() {
	y.t.Helper()
	y.term()
	y.ends(nil)
}

func id(job int, name string) string { return fmt.Sprintf("gitlab.example/%d/%s", job, name) }

func TestDirectory(t *testing.T) {
	t.Parallel()
	for _, poll := range []bool{false, true} {
		t.Run(fmt.Sprint("poll=", poll), func(t *testing.T) {
			t.Parallel()
			y := newYard(t, host)
			y.options.Poll = poll
			y.run()
			y.logged("waiting")
			y.put("1.json", `{"name":"a"}`)
			y.to.has(t, id(1, "a"))
			y.put("2.json", `{"name":"a"}{"na`)
			y.to.has(t, id(1, "a"), id(2, "a"))
			y.put("2.json", `{"name":"a"}{"name":"b"}`)
			y.to.has(t, id(1, "a"), id(2, "a"), id(2, "b"))
			y.put("1.json", `{"name":"a"}{"name":"a"}`)
			y.to.has(t, id(1, "a"), id(2, "a"), id(2, "b"), id(1, "a~1"))
			y.put("3.json.new", `{"name":"c"}`)
			if err := os.Rename(y.at("3.json.new"), y.at("3.json")); err != nil {
				t.Fatal(err)
			}
			y.to.has(t, id(1, "a"), id(2, "a"), id(2, "b"), id(1, "a~1"), id(3, "c"))
			y.stop()
		})
	}
}

// What was delivered is not sent again after a restart, and what came meanwhile is:
// new files, and what was added to old ones.
func TestDirectoryRemembers(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	y.put("1.json", `{"name":"a"}`)
	y.put("2.json", `{"name":"a"}{`)
	y.put("4.json", `{"name":"a"}`)
	y.run()
	y.to.has(t, id(1, "a"), id(2, "a"), id(4, "a"))
	y.term()
	y.ends(exporter.ErrUnread)
	y.logged("middle of a JSON value")
	y.put("2.json", `{"name":"a"}{"name":"b"}`)
	y.put("3.json", `{"name":"a"}`)
	y.put("4.json", `{"name":"a"}{"name":"z"}`)
	next := y.again()
	next.run()
	next.to.has(t, id(1, "a"), id(2, "a"), id(4, "a"), id(2, "b"), id(3, "a"), id(4, "z"))
	next.stop()
	third := y.again()
	third.run()
	third.logged("waiting")
	third.put("5.json", `{"name":"a"}`)
	third.to.has(t, id(1, "a"), id(2, "a"), id(4, "a"), id(2, "b"), id(3, "a"), id(4, "z"), id(5, "a"))
	third.stop()
}

// Without its memory an exporter sends all again, under the same ids, whoever and
// wherever it is now.
func TestDirectoryForgets(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]environ{"host known": host, "host unknown": {"HOSTNAME": "node"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newYard(t, env)
			y.put("1.json", `{"name":"a","project":"p","status":"success"}`)
			y.run()
			y.logged("delivered")
			first := y.to.IDs()
			y.stop()
			for _, damage := range []func() error{
				func() error { return os.Remove(y.at(".delivered")) },
				func() error {
					return os.WriteFile(y.at(".delivered"), []byte("1.json x\n\x00\xff 1 2 all zz\n"), 0o644)
				},
				func() error { return errors.Join(os.Remove(y.at(".delivered")), os.Mkdir(y.at(".delivered"), 0o755)) },
			} {
				if err := damage(); err != nil {
					t.Fatal(err)
				}
				// The same text in another file of that name.
				y.put("tmp", `{"name":"a","project":"p","status":"success"}`)
				if err := os.Rename(y.at("tmp"), y.at("1.json")); err != nil {
					t.Fatal(err)
				}
				before := y.to.IDs()
				next := y.again()
				next.options.Environ = env.with("HOSTNAME", "other").lookup
				next.run()
				next.to.has(t, before, first)
				next.stop()
			}
		})
	}
}

// A link in the memory's place leads nobody's file to be written.
func TestMemoryIsNoWayOut(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	y.put("1.json", `{"name":"a"}`)
	secret := filepath.Join(filepath.Dir(y.path), "secret")
	for _, name := range []string{".delivered", ".delivered.new"} {
		if err := os.Symlink(secret, y.at(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(secret, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	y.run()
	y.to.has(t, id(1, "a"))
	y.stop()
	if text, err := os.ReadFile(secret); err != nil || string(text) != "mine" {
		t.Errorf("the file outside is %q now, %v", text, err)
	}
	if info, err := os.Lstat(y.at(".delivered")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info, err)
	}
}

// The name of a file says whose it is. What the environment knows is another job's.
func TestDirectoryIdentity(t *testing.T) {
	t.Parallel()
	y := newYard(t, recent().with("CI_METRICS_NAME", "mine", "CI_RUNNER_DESCRIPTION", "r"))
	y.run()
	y.put("5.json", `{"name":"a","job_id":6}`)
	y.logged("another job")
	y.put("5.json", `{"name":"b","job_id":5,"started":"2020-01-01T00:00:00Z"}`)
	y.to.has(t, id(5, "b"))
	y.put("77.json", `{"status":"success"}`) // the very job in whose pod it runs
	y.to.has(t, id(5, "b"), id(77, "mine"))
	for i, want := range []struct{ project any }{{nil}, {"group/app"}} {
		if got := y.to.Jobs()[i]["project"]; got != want.project {
			t.Errorf("job %d: project %v, want %v", i, got, want.project)
		}
	}
	y.stop()
}

// Each file has its own troubles; the others are delivered.
func TestDirectoryTroubles(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	y.put("9.json", `{"name":"good"}`)
	y.put("metrics.json", `{"name":"whose"}`)
	y.put("1.json", `{"name":"a"b"}`+"\n"+`{"name":"c"}`)
	y.put("2.json", strings.Repeat(" ", 2<<20))
	for _, err := range []error{
		os.Mkdir(y.at("3.json"), 0o755), syscall.Mkfifo(y.at("4.json"), 0o644), os.Symlink("9.json", y.at("5.json")),
		os.Symlink("../outside.json", y.at("6.json")), os.WriteFile(filepath.Join(filepath.Dir(y.path), "outside.json"), []byte(`{"name":"out"}`), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	y.run()
	for _, want := range []string{"line 1", "larger than", "a directory", "a named pipe", "5.json", "6.json", "symbolic link", "metrics.json", "not that of a job"} {
		y.logged(want)
	}
	y.to.has(t, id(1, "c"), id(9, "good"))
	for _, name := range []string{"3.json", "4.json", "5.json", "6.json"} {
		if err := os.Remove(y.at(name)); err != nil {
			t.Fatal(err)
		}
	}
	y.put("2.json", `{"name":"d"}`)
	y.to.has(t, id(1, "c"), id(9, "good"), id(2, "d"))
	y.put("3.json", `{"name":"e"}`)
	y.to.has(t, id(1, "c"), id(9, "good"), id(2, "d"), id(3, "e"))
	y.stop()
	if n := strings.Count(y.log.String(), "larger than"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// More than is sent at a time waits in its files, and none is lost.
func TestDirectoryBacklog(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	total := 0
	put := func(name string, items, size int) {
		var text strings.Builder
		for k := range items {
			fmt.Fprintf(&text, `{"name":"%d","ref":"%s"}`+"\n", k, strings.Repeat("x", size))
		}
		y.put(name, text.String())
		total += items
	}
	put("1.json", 5500, 0) // two have more jobs than may wait
	put("2.json", 5500, 0)
	for i := range 5 { // and these are longer than what is read ahead
		put(fmt.Sprint(10+i, ".json"), 250, 1000)
	}
	y.to.Set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	y.run()
	y.logged("not delivered yet")
	time.Sleep(500 * time.Millisecond) // in which it reads as far ahead as it will
	y.to.Set(nil)
	eventually(t, func() bool { return len(y.to.Jobs()) == total }, func() string { return fmt.Sprint(len(y.to.Jobs()), " jobs") })
	y.stop()
	if strings.Contains(y.log.String(), "lost") {
		t.Errorf("log: %s", y.log.String())
	}
	next := y.again()
	next.run()
	next.logged("waiting")
	next.stop()
	if got := len(y.to.Jobs()); got != total {
		t.Errorf("%d jobs were sent again", got-total)
	}
}

// What isn't delivered in time is there at the next start.
func TestDirectoryIsKept(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	y.options.ShutdownTimeout = 100 * time.Millisecond
	y.to.Set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	y.put("1.json", `{"name":"a"}`)
	y.run()
	y.logged("not delivered yet")
	y.term()
	y.ends(exporter.ErrUndelivered)
	y.logged("at the next start")
	y.to.Set(nil)
	next := y.again()
	next.options.ShutdownTimeout = patience
	next.run()
	next.logged("msg=delivered recorded=1 duplicates=0 name=a id=" + id(1, "a")) // an attempt that was given up may arrive as well
	next.stop()
}

// What a receiver refused for good is not sent again for ever.
func TestDirectoryRefused(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	y.to.Set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	y.put("1.json", `{"name":"a"}`)
	y.run()
	y.logged("refused for good")
	y.stop()
	next := y.again()
	next.run()
	next.logged("waiting")
	next.stop()
	if n := len(y.to.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Files of jobs long gone: ids may be forgotten by the receiver, so they are not sent
// when they are found at the start.
func TestDirectoryLongGone(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	set := func(name string, age time.Duration) {
		at := time.Now().Add(-age)
		if err := os.Chtimes(y.at(name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	y.put("1.json", `{"name":"old"}`)
	set("1.json", 31*24*time.Hour)
	y.put("2.json", `{"name":"young"}`)
	set("2.json", 29*24*time.Hour)
	y.put("3.json", `{"name":"ahead"}`)
	set("3.json", -24*time.Hour)
	y.run()
	y.to.has(t, id(2, "young"), id(3, "ahead"))
	y.logged("long ago")
	y.put("4.json.new", `{"name":"clock"}`) // written while it runs, by a clock that is wrong
	set("4.json.new", 10000*24*time.Hour)
	if err := os.Rename(y.at("4.json.new"), y.at("4.json")); err != nil {
		t.Fatal(err)
	}
	y.to.has(t, id(2, "young"), id(3, "ahead"), id(4, "clock"))
	y.stop()
	if text, err := os.ReadFile(y.at(".delivered")); err != nil || strings.Contains(string(text), "\n1.json") ||
		!strings.Contains(string(text), "\n2.json") {
		t.Errorf("remembered %q, %v", text, err)
	}
}

func TestDeleteAfter(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	y.put("1.json", `{"name":"old"}`)
	y.put("2.json", `{"name":"young"}`)
	y.put("3.json", `{"name":"half"`)
	y.put("notes.txt", `mine`)
	for _, name := range []string{"1.json", "3.json", "notes.txt"} {
		at := time.Now().Add(-3 * time.Hour)
		if err := os.Chtimes(y.at(name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	there := func() string {
		var names []string
		all, _ := filepath.Glob(y.at("[0-9n]*"))
		for _, path := range all {
			names = append(names, filepath.Base(path))
		}
		return strings.Join(names, " ")
	}
	y.run()
	y.to.has(t, id(1, "old"), id(2, "young"))
	y.term()
	y.ends(exporter.ErrUnread)
	if got := there(); got != "1.json 2.json 3.json notes.txt" {
		t.Errorf("without being asked to it left %s", got)
	}
	next := y.again()
	next.options.DeleteAfter = 2 * time.Hour
	next.run()
	next.logged("deleted what was delivered")
	next.term()
	next.ends(exporter.ErrUnread)
	if got := there(); got != "2.json 3.json notes.txt" {
		t.Errorf("left %s", got)
	}
}

// A place that can't be written costs repeats, not jobs.
func TestMemoryElsewhere(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	y.options.Memory = filepath.Join(filepath.Dir(y.path), "missing", "state")
	y.put("1.json", `{"name":"a"}`)
	y.run()
	y.to.has(t, id(1, "a"))
	y.logged("can't be remembered")
	y.stop()
	if err := os.Mkdir(filepath.Dir(y.options.Memory), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // sent again, and remembered then
		next := y.again()
		next.run()
		next.to.has(t, id(1, "a"), id(1, "a"))
		next.stop()
	}
	if _, err := os.Stat(y.at(".delivered")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it wrote beside the files: %v", err)
	}
}

func TestDirectoryOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	once := func(want error) {
		t.Helper()
		if err := exporter.Once(context.Background(), y.options); !errors.Is(err, want) {
			t.Errorf("error %v, want %v\n%s", err, want, y.log.String())
		}
	}
	once(exporter.ErrNothing)
	if err := os.Mkdir(y.path, 0o755); err != nil {
		t.Fatal(err)
	}
	once(nil)
	y.put("1.json", `{"name":"a"}`)
	y.put("2.json", `{"name":"b"}`)
	once(nil)
	once(nil)
	y.to.has(t, id(1, "a"), id(2, "b"))
	y.put("3.json", `{"name":"c"`)
	once(exporter.ErrUnread)
	y.put("3.json", `{"name":"c"}`)
	y.to.Set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	once(exporter.ErrRejected)
	y.put("4.json", `{"name":"d"}`)
	y.options.ShutdownTimeout = 100 * time.Millisecond
	y.to.Set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	once(exporter.ErrUndelivered)
}

// The directory is replaced, with files in it at once.
func TestDirectoryReplaced(t *testing.T) {
	t.Parallel()
	y := newYard(t, host)
	y.put("1.json", `{"name":"a"}`)
	y.run()
	y.to.has(t, id(1, "a"))
	if err := os.Rename(y.path, y.path+".old"); err != nil {
		t.Fatal(err)
	}
	y.put("2.json", `{"name":"b"}`)
	y.to.has(t, id(1, "a"), id(2, "b"))
	y.put("3.json", `{"name":"c"}`)
	y.to.has(t, id(1, "a"), id(2, "b"), id(3, "c"))
	y.stop()
}
