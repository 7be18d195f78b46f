package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A ciJob is a job to play.
type ciJob struct {
	name     string // GitLab's own job name
	template string // CI_METRICS_NAME; empty: the template does not say
	project  string
	status   string        // CI_JOB_STATUS; empty: GitLab's job timeout, no after_script
	took     time.Duration // as far as CI_JOB_STARTED_AT tells
	delay    time.Duration // real time until its after_script
}

var jobs = []ciJob{
	{"build-api", "dotnet_build", "shop/api", "success", 95 * time.Second, 300 * time.Millisecond},
	{"build-web", "dotnet_build", "shop/web", "success", 140 * time.Second, 500 * time.Millisecond},
	{"build-web", "dotnet_build", "shop/web", "failed", 31 * time.Second, 900 * time.Millisecond},
	{"test 1/3", "", "shop/api", "success", 410 * time.Second, 700 * time.Millisecond},
	{"test 2/3", "", "shop/api", "success", 395 * time.Second, 1600 * time.Millisecond},
	{"test 3/3", "", "shop/api", "failed", 402 * time.Second, 2 * time.Second},
	{"helm_restore", "", "platform/infra", "success", 12 * time.Second, 1700 * time.Millisecond},
	{`say "hi"`, "greeting", "platform/infra", "canceled", 3 * time.Second, 1900 * time.Millisecond},
	{"deploy: [eu, blue]", "", "shop/web", "success", 65 * time.Second, 2200 * time.Millisecond},
	{"hangs", "integration_test", "shop/api", "", time.Hour, 2600 * time.Millisecond},
}

// podEnd is how long GitLab Runner takes from the after_script to the pod's end.
const podEnd = 600 * time.Millisecond

// pod plays one job pod from its first second to its last.
func (d *demo) pod(ctx context.Context, i int, j *ciJob) error {
	who := fmt.Sprintf("pod %d", i+1)
	builds := filepath.Join(d.dir, fmt.Sprintf("pod-%d", i+1), "builds")
	if err := os.MkdirAll(builds, 0o777); err != nil {
		return err
	}
	env := environment(i, j, builds)
	file := filepath.Join(builds, ".metrics", "metrics.json")
	exporter := exec.Command(filepath.Join(d.bin, "exporter"), file, d.address)
	exporter.Env = append(slices.Clone(env), "CI_JOB_STATUS=running") // frozen, in every container but the job's
	exporter.Stderr = d.lines(who + " exporter")
	exporter.SysProcAttr = apart()
	if err := exporter.Start(); err != nil {
		return err
	}
	d.say(who, "job %q of %s starts", j.name, j.project)
	if wait(ctx, j.delay) {
		if err := d.end(ctx, who, j, env); err != nil {
			return errors.Join(err, exporter.Process.Kill(), exporter.Wait())
		}
	}
	if wait(ctx, podEnd) {
		d.say(who, "the pod is deleted: SIGTERM")
	}
	if err := exporter.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := exporter.Wait(); err != nil {
		return fmt.Errorf("exporter: %w", err)
	}
	return nil
}

// end plays the end of a job: its after_script, unless GitLab ended it by force.
func (d *demo) end(ctx context.Context, who string, j *ciJob, env []string) error {
	if j.status == "" {
		d.say(who, "job %q hangs until GitLab ends it: no after_script runs", j.name)
		return nil
	}
	d.say(who, "job %q ends: %s; its after_script runs", j.name, j.status)
	shell := exec.CommandContext(ctx, "sh", "-c", d.script)
	shell.Env = append(slices.Clone(env), "CI_JOB_STATUS="+j.status)
	shell.Stderr = d.lines(who + " shell")
	if err := shell.Run(); err != nil {
		return fmt.Errorf("after_script: %w", err)
	}
	return nil
}

// apart keeps the terminal's Ctrl-C from a program: it is for the demo, which then
// stops the programs in order. Should the demo be killed, they go with it.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// environment is what GitLab gives the containers of a job, of which the programs
// use.
func environment(i int, j *ciJob, builds string) []string {
	id := strconv.Itoa(1001 + i)
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOSTNAME=runner-pod-" + id,
		"CI_BUILDS_DIR=" + builds,
		"CI_JOB_ID=" + id,
		"CI_JOB_NAME=" + j.name,
		"CI_JOB_STAGE=demo",
		"CI_JOB_STARTED_AT=" + time.Now().Add(-j.took).UTC().Format(time.RFC3339),
		"CI_JOB_URL=https://gitlab.example/" + j.project + "/-/jobs/" + id,
		"CI_PROJECT_PATH=" + j.project,
		"CI_SERVER_URL=https://gitlab.example",
	}
	if j.template != "" {
		env = append(env, "CI_METRICS_NAME="+j.template)
	}
	return env
}

// A receiver is the program, which can be killed and started again.
type receiver struct {
	demo *demo
	cmd  *exec.Cmd
}

func (d *demo) startReceiver(ctx context.Context) (*receiver, error) {
	d.title("A receiver with this ledger on http://" + d.address)
	r := &receiver{demo: d}
	return r, r.start(ctx)
}

func (r *receiver) start(ctx context.Context) error {
	d := r.demo
	r.cmd = exec.Command(filepath.Join(d.bin, "receiver"), "--web.listen-address="+d.address,
		"--ledger=sqlite:"+d.ledger())
	r.cmd.Stderr = d.lines("receiver")
	r.cmd.SysProcAttr = apart()
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // flags of your own receiver are not meant
	if err := r.cmd.Start(); err != nil {
		return err
	}
	for range 200 {
		if _, err := d.get(ctx, "/-/ready"); err == nil || ctx.Err() != nil {
			return nil
		}
		wait(ctx, 25*time.Millisecond)
	}
	return errors.Join(errors.New("the receiver does not get ready"), r.stop())
}

func (r *receiver) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait() // the error is that it was killed
}

// stop stops it in order, if it runs.
func (r *receiver) stop() error {
	if r.cmd.Process == nil || r.cmd.ProcessState != nil {
		return nil
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return r.cmd.Wait()
}

// message is what people want of a log line.
var message = regexp.MustCompile(`^time=\S+ level=(\w+) (?:source=\S+ )?msg=(?:"((?:[^"\\]|\\.)*)"|(\S+))(.*)$`)

// lines returns where a program writes its log; the demo says each line.
func (d *demo) lines(who string) io.Writer {
	return writer(func(line string) {
		if m := message.FindStringSubmatch(line); m != nil {
			line = m[2] + m[3] + m[4]
		}
		d.say(who, "%s", strings.ReplaceAll(line, d.dir, "…"))
	})
}

// A writer calls itself with each line that is written.
type writer func(line string)

func (w writer) Write(b []byte) (int, error) {
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		w(lines.Text())
	}
	return len(b), nil
}
