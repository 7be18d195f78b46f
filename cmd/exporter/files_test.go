package main_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ci-jobs-metrics/internal/steps/stepstest"
)

// A file that is written byte by byte is sent when it is complete, once.
func TestSlowWriter(t *testing.T) {
	t.Parallel()
	const text = `{"name":"build","status":"success","project":"group/app"}`
	for name, write := range map[string]func(p *pod, b string){
		"keeps the file open": nil,
		"opens it each time":  func(p *pod, b string) { p.append(b) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, jobEnv())
			p.write("")
			f, err := os.OpenFile(p.path, os.O_WRONLY|os.O_APPEND, 0)
			p.do(err)
			for i := range len(text) {
				if write != nil {
					write(p, text[i:i+1])
				} else {
					_, err := f.WriteString(text[i : i+1])
					p.do(err)
				}
				if i < len(text)-1 && len(p.to.Requests()) > 0 {
					t.Fatalf("sent after %q", text[:i+1])
				}
				time.Sleep(time.Second / time.Duration(len(text)))
			}
			p.do(f.Close())
			p.sent(build)
			p.term(0)
			if n := len(p.to.Requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// Two containers append to the same file at once: each line counts once.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	p := newPod(t, jobEnv())
	p.write("")
	const each = 100
	var writers sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		writers.Go(func() {
			for i := range each {
				p.append(fmt.Sprintf(`{"name":"%s%d"}`+"\n", name, i))
			}
		})
	}
	writers.Wait()
	p.until(func() bool { return len(p.to.Jobs()) >= 2*each }, "all jobs")
	p.term(0)
	ids := strings.Fields(p.to.IDs())
	slices.Sort(ids)
	if n := len(ids); n != 2*each || len(slices.Compact(ids)) != n {
		t.Errorf("%d ids, of which some are the same", n)
	}
}

// What takes the file's place is endured; the file is read when it is back.
func TestReplaced(t *testing.T) {
	t.Parallel()
	for want, replace := range map[string]func(p *pod){
		"a directory":  func(p *pod) { p.do(os.Mkdir(p.path, 0o755)) },
		"a named pipe": func(p *pod) { p.do(syscall.Mkfifo(p.path, 0o644)) },
		"a socket": func(p *pod) {
			short := filepath.Join(os.TempDir(), fmt.Sprint("exporter", os.Getpid())) // as a socket's path must be
			l, err := net.Listen("unix", short)
			p.do(err)
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			p.do(l.Close())
			p.do(os.Rename(short, p.path))
		},
		"symbolic link": func(p *pod) { p.do(os.Symlink("/etc/passwd", p.path)) },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, jobEnv())
			p.write(`{"status":"success"}`)
			p.sent(build)
			p.do(os.Remove(p.path))
			replace(p)
			p.logs(want)
			p.running()
			p.do(os.RemoveAll(p.path))
			p.write(`{"status":"success"}{"name":"second"}`)
			p.sent(build, "gitlab.example/77/second")
			p.term(0)
		})
	}
}

// The time of the file says whose it is only where nothing else does, and a clock
// that is ahead is no reason to lose a job.
func TestFileTimes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		at   time.Time
		want string
		log  string
	}{
		"past, says whose":    {`{"job_id":77}`, time.Unix(1, 0), build, "delivered"},
		"past, doesn't say":   {`{}`, time.Unix(1, 0), "", "another job"},
		"future":              {`{}`, time.Now().Add(1000 * time.Hour), build, "delivered"},
		"before 1970, knows":  {`{"job_id":77}`, time.Unix(-1000, 0), build, "delivered"},
		"another job's, late": {`{"job_id":78}`, time.Now().Add(time.Hour), "", "another job"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, jobEnv())
			p.mkdir()
			temporary := p.path + ".new"
			p.do(os.WriteFile(temporary, []byte(c.text), 0o644))
			p.do(os.Chtimes(temporary, c.at, c.at))
			p.do(os.Rename(temporary, p.path))
			p.logs(c.log)
			p.term(0)
			if got := p.to.IDs(); got != c.want {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("only root can do this")
	}
	t.Skip("only root can do this")
}

// Volumes of a pod are other file systems, and the same directory under two names.
func TestVolumes(t *testing.T) {
	t.Parallel()
	needRoot(t)
	here, there := t.TempDir(), t.TempDir()
	mount := func(source, target, kind string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(source, target, kind, flags, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
	mount("tmpfs", here, "tmpfs", 0)
	mount(here, there, "", unix.MS_BIND)
	to := stepstest.New(t)
	p := &pod{process: start(t, jobEnv(), filepath.Join(here, "m", "metrics.json"), to.URL), to: to,
		path: filepath.Join(there, "m", "metrics.json")} // the job's name for it
	p.logs("waiting")
	p.write(`{"status":"success"}`)
	p.sent(build)
	p.append(`{"name":"more"}`)
	p.sent(build, "gitlab.example/77/more")
	p.term(0)
	if strings.Contains(p.log.String(), "looked at regularly") {
		t.Errorf("it polls: %s", p.log.String())
	}
}

// Where the kernel has no room for watches it looks regularly, and says so.
func TestInotifyLimits(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Fatal(err)
	}
	for limit, c := range map[string]struct{ most, want string }{
		"max_inotify_instances": {"0", "inotify can't be had"},
		"max_inotify_watches":   {"1", "no space left"},
	} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			to := stepstest.New(t)
			dir := t.TempDir()
			// A user namespace has limits of its own.
			cmd := exec.Command("unshare", "-U", "-r", "sh", "-c", `echo $1 > /proc/sys/user/$0 && shift && exec "$@"`,
				limit, c.most, program, filepath.Join(dir, "m", "metrics.json"), to.URL)
			p := &pod{process: startCommand(t, jobEnv("PATH="+os.Getenv("PATH")), cmd), to: to, dir: dir, path: filepath.Join(dir, "m", "metrics.json")}
			p.logs("looked at regularly")
			p.logs(c.want)
			p.write(`{"status":"success"}`)
			p.sent(build)
			p.append(`{"name":"more"}`)
			p.sent(build, "gitlab.example/77/more")
			p.term(0)
		})
	}
}

// A directory of jobs' files, as an unprivileged user that may not write there, with
// the memory elsewhere; and killed and started again.
func TestDirectoryAsSomebodyElse(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir, err := os.MkdirTemp("", "pod") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	to := stepstest.New(t)
	p := &pod{dir: dir, to: to}
	jobs, state := filepath.Join(dir, "jobs"), filepath.Join(dir, "state")
	p.process = &process{t: t}
	p.do(os.Chmod(dir, 0o755))
	p.do(os.Mkdir(state, 0o777))
	p.do(os.Chmod(state, 0o777))
	begin := func(args ...string) {
		cmd := exec.Command(program, append([]string{jobs + "/", to.URL}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		p.process = startCommand(t, []string{"CI_SERVER_HOST=gitlab.example"}, cmd)
		p.logs("waiting for jobs' files")
	}
	put := func(job, mode int, text string) {
		t.Helper()
		path := filepath.Join(jobs, fmt.Sprint(job, ".json"))
		p.do(os.WriteFile(path, []byte(text), 0o600))
		p.do(os.Chmod(path, os.FileMode(mode)))
	}
	begin("--state-file", filepath.Join(state, "s"))
	p.do(os.Mkdir(jobs, 0o755))
	put(1, 0o644, `{"name":"a"}`)
	p.sent("gitlab.example/1/a")
	put(2, 0o600, `{"name":"b"}`)
	p.logs("readable by uid 65534")
	p.do(os.Chmod(filepath.Join(jobs, "2.json"), 0o644))
	p.sent("gitlab.example/1/a", "gitlab.example/2/b")
	p.until(func() bool {
		text, _ := os.ReadFile(filepath.Join(state, "s"))
		return strings.Contains(string(text), "\n2.json ")
	}, "both remembered")
	p.signal(syscall.SIGKILL)
	<-p.done
	put(3, 0o644, `{"name":"c"}`)
	begin("--state-file", filepath.Join(state, "s"))
	p.sent("gitlab.example/1/a", "gitlab.example/2/b", "gitlab.example/3/c")
	p.term(0)
	begin() // the memory would be in a directory that it can't write
	p.logs("can't be remembered")
	p.sent("gitlab.example/1/a", "gitlab.example/2/b", "gitlab.example/3/c",
		"gitlab.example/1/a", "gitlab.example/2/b", "gitlab.example/3/c")
	p.term(0)
}

// What is at the file's place when it starts does not make it a directory of files: it
// may be left over, or the job's doing.
func TestDirectoryInTheWay(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(path, elsewhere string) error{
		"a directory":         func(path, _ string) error { return os.Mkdir(path, 0o755) },
		"a link to directory": func(path, elsewhere string) error { return os.Symlink(elsewhere, path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, elsewhere := t.TempDir(), t.TempDir()
			p := &pod{process: &process{t: t}, dir: dir, path: filepath.Join(dir, "metrics.json"), to: stepstest.New(t)}
			p.do(make(p.path, elsewhere))
			p.do(os.WriteFile(filepath.Join(elsewhere, "9.json"), []byte(`{"name":"theirs"}`), 0o644))
			p.process = start(t, jobEnv(), p.path, p.to.URL)
			p.logs("metrics.json")
			p.do(os.Remove(p.path))
			p.write(`{}`)
			p.sent(build)
			p.term(0)
			if _, err := os.Lstat(filepath.Join(elsewhere, ".delivered")); !os.IsNotExist(err) {
				t.Errorf("it wrote into another directory: %v", err)
			}
		})
	}
}

// A job's GOGC=off, common where Go programs are linted, is not for the exporter.
func TestGarbageIsCollected(t *testing.T) {
	t.Parallel()
	p := newPod(t, jobEnv("GOGC=off", "GOMEMLIMIT=1"))
	for i := range 8 {
		var text strings.Builder
		text.WriteString("[")
		for n := range 9000 {
			fmt.Fprintf(&text, `{"id":"%d/%d","name":"a","project":"p","status":"success"},`, i, n)
		}
		p.write(strings.TrimSuffix(text.String(), ",") + "]")
		p.until(func() bool { return len(p.to.Jobs()) >= (i+1)*9000 }, "all sent")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	p.do(err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int
	_, err = fmt.Sscan(rest, &kib)
	p.do(err)
	if kib > 64<<10 {
		t.Errorf("it took %d KiB", kib)
	}
	p.term(0)
}

// It runs in every job: what it weighs is multiplied by a million. make footprint has
// more figures.
func TestFootprint(t *testing.T) {
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 7_000_000 {
		t.Errorf("the program has %d bytes", info.Size())
	}
	p := newPod(t, jobEnv())
	weight := func(stage string, most int) {
		t.Helper()
		time.Sleep(200 * time.Millisecond) // to become as it stays
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		p.do(err)
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		var kib int
		_, err = fmt.Sscan(rest, &kib)
		p.do(err)
		if kib*1024 > most {
			t.Errorf("%s: %d bytes are resident, want at most %d", stage, kib*1024, most)
		}
	}
	weight("waiting", 6_000_000)
	p.write(`{}`)
	p.sent(build)
	weight("after sending", 8_000_000)
	p.term(0)
}
