// Command demo plays what happens in a company's CI, on this machine and with the
// real programs: job pods, each with a directory that its containers share, an
// exporter beside the job, and the after_script of the README; and a receiver that
// is killed in the middle of it, with 90 days of a made-up company in its ledger. It ends with
// the metrics that came of it.
//
// make demo builds the programs and runs it. It fails if a job was lost or counted
// twice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	bin := flag.String("bin", "bin", "directory of the programs receiver and exporter")
	readme := flag.String("readme", "README.md", "file with the after_script")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, *bin, *readme, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// A demo is one run.
type demo struct {
	stage
	bin     string
	dir     string             // everything it writes
	script  string             // the after_script
	address string             // of the receiver
	before  map[string]float64 // its counters before any pod
}

func run(ctx context.Context, bin, readme string, out io.Writer) (err error) {
	d := &demo{stage: stage{out: out, start: time.Now()}}
	if d.bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if d.script, err = afterScript(readme); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "ci-jobs-metrics-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	if d.address, err = freeAddress(ctx); err != nil {
		return err
	}
	if err := d.remember(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	receiver, err := d.startReceiver(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, receiver.stop()) }()
	page, err := d.get(ctx, "/metrics/jobs")
	if err != nil {
		return err
	}
	_, d.before = counters(page)

	d.title("Job pods: each an exporter, and a job whose last act is the README's after_script")
	var pods sync.WaitGroup
	failed := make(chan error, len(jobs))
	for i := range jobs {
		pods.Go(func() {
			if err := d.pod(ctx, i, &jobs[i]); err != nil {
				failed <- fmt.Errorf("pod of job %s: %w", jobs[i].name, err)
			}
		})
	}
	crashed := d.crash(ctx, receiver)
	pods.Wait()
	if ctx.Err() != nil { // somebody has seen enough
		return nil
	}
	select {
	case err := <-failed:
		return errors.Join(crashed, err)
	default:
	}
	if crashed != nil {
		return crashed
	}
	if err := d.show(ctx); err != nil {
		return err
	}
	return d.stay(ctx)
}

// crash kills the receiver while pods report to it, and starts it again a second
// later: exporters try again, and what was acknowledged is still there.
func (d *demo) crash(ctx context.Context, r *receiver) error {
	if !wait(ctx, 1500*time.Millisecond) {
		return nil
	}
	d.say("receiver", "SIGKILL. Exporters retry from now on")
	r.kill()
	wait(ctx, time.Second)
	return r.start(ctx)
}

// show prints the metrics and checks that every job is in them, once.
func (d *demo) show(ctx context.Context) error {
	page, err := d.get(ctx, "/metrics/jobs")
	if err != nil {
		return err
	}
	d.title("Added to GET /metrics/jobs, without the buckets of histograms")
	counted := 0.0
	series, values := counters(page)
	for _, name := range series {
		added := values[name] - d.before[name]
		if added == 0 {
			continue
		}
		fmt.Fprintf(d.out, "%s %v\n", name, math.Round(added*1e6)/1e6)
		if strings.HasPrefix(name, "cijob_runs_total{") {
			counted += added
		}
	}
	if counted != float64(len(jobs)) {
		return fmt.Errorf("%v jobs count, want %d", counted, len(jobs))
	}
	d.title(fmt.Sprintf("%d jobs ran, %d count: none was lost, none counts twice", len(jobs), len(jobs)))
	return nil
}

// stay keeps the receiver up where somebody is there to look.
func (d *demo) stay(ctx context.Context) error {
	if _, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err != nil {
		fmt.Fprintln(d.out, "\nIn a terminal the receiver stays up after this, with its page to look at.")
		return nil
	}
	fmt.Fprintf(d.out, `
The receiver stays up until Ctrl-C. Have a look in a browser:
  http://%[1]s/           how the templates do
  http://%[1]s/improve    where to improve
or ask:
  curl http://%[1]s/metrics
  curl 'http://%[1]s/api/v1/templates?last=90d&sort=-hours_lost&limit=5'
Add a job of your own:
  curl -G -d status=failed -d project=my/project -d name=my_template http://%[1]s/steps
`, d.address)
	<-ctx.Done()
	return nil
}

func (d *demo) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, response.Status)
	}
	return string(body), err
}

// afterScript is the first after_script of a document, as one shell script.
func afterScript(readme string) (string, error) {
	text, err := os.ReadFile(readme)
	if err != nil {
		return "", err
	}
	_, block, found := strings.Cut(string(text), "```yaml\nafter_script:\n")
	block, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		return "", fmt.Errorf("%s has no block that begins with after_script", readme)
	}
	var script strings.Builder
	for line := range strings.Lines(block) {
		command, ok := strings.CutPrefix(line, "  - ")
		if !ok {
			return "", fmt.Errorf("%s: after_script: %q is no list item", readme, line)
		}
		script.WriteString(command)
	}
	return script.String(), nil
}

func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// wait waits. It is false if the demo was told to end.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// A stage is where the demo says what happens.
type stage struct {
	out   io.Writer
	start time.Time
	mu    sync.Mutex
}

func (s *stage) title(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "\n== %s\n", text)
}

// say tells what somebody does, with the seconds since the start.
func (s *stage) say(who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%5.1fs  %-15s  %s\n", time.Since(s.start).Seconds(), who, fmt.Sprintf(format, args...))
}
