package main_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"ci-jobs-metrics/internal/steps/stepstest"
)

// What a job does with its file, and what arrives.
func TestFiles(t *testing.T) {
	t.Parallel()
	const good = `{"status":"success"}`
	for name, play := range map[string]func(p *pod){
		"directory and file made later": func(p *pod) {
			p.running()
			p.mkdir()
			p.running()
			p.write(good)
			p.sent(build)
		},
		"half-written, then completed": func(p *pod) {
			p.write(`{"status":"suc`)
			p.running()
			p.append(`cess"}`)
			p.sent(build)
		},
		"empty, then written": func(p *pod) {
			p.write("")
			p.running()
			p.write(good)
			p.sent(build)
		},
		"100 MB, then good": func(p *pod) {
			p.write("")
			p.do(os.Truncate(p.path, 100<<20))
			p.append("")
			p.logs("larger than")
			p.write(good)
			p.sent(build)
		},
		"binary garbage, then good": func(p *pod) {
			p.write("\x7fELF\x00\xff\xfe" + strings.Repeat("\x00{\n{", 1000))
			p.logs("not well-formed")
			p.write(good)
			p.sent(build)
		},
		"UTF-16": func(p *pod) {
			raw := []byte{0xFF, 0xFE}
			for _, unit := range utf16.Encode([]rune(good + "\r\n")) {
				raw = binary.LittleEndian.AppendUint16(raw, unit)
			}
			p.write(string(raw))
			p.sent(build)
		},
		"byte order mark": func(p *pod) {
			p.write("\xEF\xBB\xBF" + good)
			p.sent(build)
		},
		"link out, then replaced": func(p *pod) {
			p.mkdir()
			p.do(os.WriteFile(filepath.Join(p.dir, "secret"), []byte(good), 0o644))
			p.do(os.Symlink("../secret", p.path))
			p.logs("symbolic link out of its directory")
			p.do(os.Remove(p.path))
			p.write(good)
			p.sent(build)
		},
		"moved into place": func(p *pod) {
			p.do(os.WriteFile(filepath.Join(p.dir, "tmp"), []byte(good), 0o644))
			p.mkdir()
			p.do(os.Rename(filepath.Join(p.dir, "tmp"), p.path))
			p.sent(build)
		},
		"appended": func(p *pod) {
			p.write(good + "\n")
			p.sent(build)
			p.append(good + "\n" + `{"name":"test"}` + "\n")
			p.sent(build, build+"~1", "gitlab.example/77/test")
		},
		"rewritten": func(p *pod) {
			p.write(good)
			p.sent(build)
			p.write(`{"status":"failed"}`)
			p.sent(build, build)
		},
		"named pipe": func(p *pod) {
			p.mkdir()
			p.do(syscall.Mkfifo(p.path, 0o644))
			p.logs("a named pipe")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, jobEnv())
			play(p)
			p.running()
			p.signal(syscall.SIGHUP)
			p.running()
			if p.signal(syscall.SIGTERM); name == "named pipe" {
				p.ends(1)
			} else {
				p.ends(0)
			}
		})
	}
}

// A file that only its writer may read: the log says what to do, and once that is
// done the job arrives.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir, err := os.MkdirTemp("", "pod") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &pod{dir: dir, path: filepath.Join(dir, "metrics.json"), to: stepstest.New(t)}
	cmd := exec.Command(program, p.path, p.to.URL)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	p.process = startCommand(t, jobEnv(), cmd)
	p.do(os.WriteFile(p.path, []byte(`{}`), 0o600)) // in a directory that is closed too
	p.logs("readable by uid 65534")
	p.do(os.Chmod(dir, 0o755))
	p.do(os.Chmod(p.path, 0o644))
	p.sent(build)
	p.term(0)
}

func TestRestartSendsTheSameIDs(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{"job known": jobEnv(), "job unknown": {"HOSTNAME=pod", "CI_PROJECT_PATH=p"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, env)
			p.write(`{"name":"a"}{"name":"b"}{"name":"a"}`)
			p.until(func() bool { return strings.Count(p.to.IDs(), " ") == 2 }, "three ids")
			first := p.to.IDs()
			p.signal(syscall.SIGKILL)
			<-p.done
			again := start(t, env, p.path, p.to.URL)
			again.until(func() bool { return p.to.IDs() == first+" "+first }, "the ids again")
			again.term(0)
		})
	}
}

// What a receiver does, and what becomes of the job.
func TestReceivers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		log    string
	}{
		"broken":     {status(500), "500 Internal Server Error"},
		"limiting":   {status(429, "Retry-After", "1"), "429 Too Many Requests"},
		"busy":       {status(503, "Retry-After", "1"), "503 Service Unavailable"},
		"wrong host": {page, "right host"},
		"moved":      {status(301, "Location", "http://elsewhere/steps"), "http://elsewhere/steps"},
		"hanging up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, jobEnv())
			p.to.Set(c.answer)
			p.write(`{}`)
			p.logs("not delivered yet")
			p.logs(c.log)
			p.to.Set(nil)
			p.sent(build)
			p.term(0)
		})
	}
}

func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<html>log in")
}

func TestReceiverIsSlow(t *testing.T) {
	t.Parallel()
	p := newPod(t, jobEnv())
	p.to.Set(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(300 * time.Millisecond)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"recorded":1,"duplicates":0}`)
	})
	p.write(`{}`)
	p.until(func() bool { return len(p.to.Requests()) > 0 }, "a request")
	p.term(0) // awaiting the answer
	p.logs("delivered")
}

func TestReceiverComesUpLater(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // holds a port that nobody else gets
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "metrics.json")
	if err := os.WriteFile(path, []byte(`{}`), 0o644); err != nil {
		t.Fatal(err)
	}
	p := start(t, jobEnv(), path, address)
	p.logs("connection refused")
	if l, err = net.Listen("tcp", address); err != nil {
		t.Skip("the port was taken:", err)
	}
	r := &stepstest.Receiver{}
	server := &http.Server{Handler: r}
	go server.Serve(l)
	defer server.Close()
	p.until(func() bool { return r.IDs() == build }, "delivery")
	p.term(0)
}

func TestTerm(t *testing.T) {
	t.Parallel()
	optedIn := jobEnv("CI_METRICS_NAME=dotnet_build")
	const template = "gitlab.example/77/dotnet_build"
	for name, c := range map[string]struct {
		env  []string
		play func(p *pod)
		want []string
		code int
	}{
		"before the directory":           {jobEnv(), func(*pod) {}, nil, 0},
		"before the directory, opted in": {optedIn, func(*pod) {}, []string{template}, 0},
		"before the file":                {jobEnv(), func(p *pod) { p.mkdir() }, nil, 0},
		"before the file, opted in":      {optedIn, func(p *pod) { p.mkdir() }, []string{template}, 0},
		"half-written":                   {jobEnv(), func(p *pod) { p.write(`{"status"`) }, nil, 1},
		"by variable": {jobEnv("CI_METRICS_EXPORTER_REPORT_MISSING=true"), func(*pod) {},
			[]string{build}, 0},
		"after delivery": {jobEnv(), func(p *pod) { p.write(`{}`); p.sent(build) }, []string{build}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, c.env)
			c.play(p)
			p.term(c.code)
			p.sent(c.want...)
		})
	}
}

// The file comes after SIGTERM: what writes it got the same signal.
func TestTermThenFile(t *testing.T) {
	t.Parallel()
	p := newPod(t, jobEnv())
	p.mkdir()
	p.signal(syscall.SIGTERM)
	p.write(`{}`)
	p.ends(0)
	p.sent(build)
}

// Nothing answers the connection: the deadline holds.
func TestTermWhileConnecting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.json")
	if err := os.WriteFile(path, []byte(`{}`), 0o644); err != nil {
		t.Fatal(err)
	}
	// An address for documentation, which leads nowhere or is refused by the network.
	p := start(t, jobEnv(), path, "192.0.2.1:9", "--shutdown-timeout=300ms")
	p.logs("waiting")
	p.running()
	p.term(1)
	p.logs("lost")
	p.logs(build)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPod(t, jobEnv(), "--shutdown-timeout", "1h")
	p.to.Set(status(500))
	p.write(`{}`)
	p.logs("not delivered yet")
	p.signal(syscall.SIGTERM)
	p.running()
	p.signal(syscall.SIGINT)
	p.ends(1)
	p.logs("second signal")
}

// The reader of the log is gone, which must not end what still delivers.
func TestLogIsGone(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	to := stepstest.New(t)
	path := filepath.Join(t.TempDir(), "metrics.json")
	cmd := exec.Command(program, path, to.URL)
	cmd.Env, cmd.Stderr = jobEnv(), w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = r.Read(make([]byte, 1)) // it runs
	_ = r.Close()
	_ = w.Close()
	if err := os.WriteFile(path, []byte(`{}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); to.IDs() != build && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || to.IDs() != build {
		t.Errorf("ended with %v, sent %q", err, to.IDs())
	}
}
