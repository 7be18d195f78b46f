// Package gitlab_test tests deploy/gitlab: the after_script in every shell, the files to include,
// and the configurations of GitLab Runner.
package gitlab_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/test/internal/harness"
)

const afterScriptFile = "../../deploy/gitlab/after_script.sh"

// nobody is somebody else than who runs the tests as root.
const nobody = 65534

func afterScript(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(afterScriptFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inShells runs a test under each shell.
func inShells(t *testing.T, test func(t *testing.T, j *jobShell)) {
	t.Helper()
	for name, command := range harness.Shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			harness.NeedProgram(t, command[0])
			test(t, &jobShell{t: t, command: command, builds: t.TempDir(), text: afterScript(t)})
		})
	}
}

// A jobShell plays the shell of after_script in a job.
type jobShell struct {
	t       *testing.T
	command []string // that takes the text
	builds  string   // CI_BUILDS_DIR
	text    string   // of the snippet
	before  string   // lines that are there before it
	path    string   // PATH; empty: ours
	uid     uint32
}

func (j *jobShell) file() string { return filepath.Join(j.builds, ".metrics", "metrics.json") }

// run runs the snippet, wants the job to go on behind it, and returns what it says.
func (j *jobShell) run(env ...string) string {
	j.t.Helper()
	const goesOn = "the job goes on"
	text := strings.Join([]string{j.before, j.text, "echo " + goesOn}, "\n")
	program, err := exec.LookPath(j.command[0])
	if err != nil {
		j.t.Fatal(err)
	}
	cmd := exec.Command(program, append(j.command[1:len(j.command):len(j.command)], text)...)
	if j.path == "" {
		j.path = os.Getenv("PATH")
	}
	cmd.Env = append([]string{"PATH=" + j.path, "CI_BUILDS_DIR=" + j.builds}, env...)
	if j.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: j.uid, Gid: j.uid}}
	}
	out, err := cmd.CombinedOutput()
	said, ok := strings.CutSuffix(string(out), goesOn+"\n")
	if err != nil || !ok {
		j.t.Fatalf("%v with %q, the job does not go on: %s", err, env, out)
	}
	return said
}

// silent runs the snippet and wants it to say nothing.
func (j *jobShell) silent(env ...string) {
	j.t.Helper()
	if said := j.run(env...); said != "" {
		j.t.Errorf("with %q it says %s", env, said)
	}
}

// wrote is the object in the file, which is alone in its directory.
func (j *jobShell) wrote() map[string]string {
	j.t.Helper()
	raw, err := os.ReadFile(j.file())
	if err != nil {
		j.t.Fatal(err)
	}
	var object map[string]string
	if err := json.Unmarshal(raw, &object); err != nil {
		j.t.Fatalf("%v in %q", err, raw)
	}
	if entries, err := os.ReadDir(filepath.Dir(j.file())); err != nil || len(entries) != 1 {
		j.t.Errorf("beside the file: %v, %v", entries, err)
	}
	return object
}

// hostile are names that have broken snippets, and could.
var hostile = []string{
	`say "hi"`, `"`, `\`, `\\`, `\"`, `a\`, `\n`, `C:\new\table`, "a\nb", "\n", "a\n\n", "a\tb", "\r\n", " a ", "-n", "--", "%s%d%%", `%b\c`,
	"$(touch pwned)", "`touch pwned`", "$CI_JOB_ID", "${x}", "$$", "'", "''", "a;b|c&d>e<f", "*", "?", "[a-z]", "[!x]", "~", "#", "!", "{a,b}",
	"build: [linux, arm64]", "test 1/5", "ü", "日本語", "🙂🙃 \u0085\u2028", "\ufeff", "\x7f", "\x01", "\x1b[31m", `\u0041`, "</script>", "a=b", "(", ")",
}

// Whatever a job is called, the file is JSON with exactly that name.
func TestAfterScriptNames(t *testing.T) {
	t.Parallel()
	names := append([]string{}, hostile...)
	var all, control strings.Builder
	for c := rune(1); c < 0x180; c++ {
		all.WriteRune(c)
	}
	for range 255 {
		control.WriteByte(1)
	}
	many := all.String() + "\u2028\u2029\u200b\U000e0001🙂"
	names = append(names, many, many, control.String()) // each locale has all
	names = append(names, strings.Repeat(`"`, 255), strings.Repeat("🙂", 255), strings.Repeat(`a\`, 127))
	alphabet := []rune("\"\\\n\t\x01\x1f\x7f$`'()[]*?!% -aü🙂")
	random := rand.New(rand.NewPCG(5, 5))
	for range 60 {
		name := make([]rune, 1+random.IntN(40))
		for i := range name {
			name[i] = alphabet[random.IntN(len(alphabet))]
		}
		names = append(names, string(name))
	}
	inShells(t, func(t *testing.T, j *jobShell) {
		for i, name := range names {
			j.silent("CI_JOB_NAME="+name, "CI_JOB_STATUS=success", []string{"LC_ALL=C.UTF-8", "LC_ALL=C"}[i%2])
			if got := j.wrote()["name"]; got != name {
				t.Errorf("%q became %q", name, got)
			}
		}
		// Bytes that are no UTF-8 stay, for Go's decoder to replace.
		j.silent("CI_JOB_NAME=a\xff\"\xc3b", "LC_ALL=C.UTF-8")
		if got := j.wrote()["name"]; got != "a\ufffd\"\ufffdb" {
			t.Errorf("no UTF-8 became %q", got)
		}
	})
}

// The shell has been used before, by other lines of the after_script and by the runner.
func TestAfterScriptSurroundings(t *testing.T) {
	t.Parallel()
	const name = "say \"hi\" \\ \x01 $x"
	for what, before := range map[string]string{
		"strict":        "set -eu",
		"no clobbering": "set -eufC",
		"separators":    "IFS=0123456789/.abc",
		"umask":         "umask 777",
		"elsewhere":     "cd / && rest=1 file=2 dir=3 new=4 before=5 plain=6",
		"functions":     "put() { exit 7; }; field() { exit 7; }; fail() { exit 7; }",
		"a trap":        "trap 'echo trapped >&2' HUP",
		"pipefail":      "if set -o | grep pipefail > /dev/null; then set -o pipefail; fi; set -o errexit",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			inShells(t, func(t *testing.T, j *jobShell) {
				j.before = before
				j.silent("CI_JOB_NAME="+name, "CI_JOB_ID=10", "CI_JOB_STATUS=failed")
				if got := j.wrote(); got["name"] != name || got["job_id"] != "10" || got["status"] != "failed" {
					t.Errorf("wrote %q", got)
				}
			})
		})
	}
	t.Run("evaluated", func(t *testing.T) { // as GitLab Runner does
		inShells(t, func(t *testing.T, j *jobShell) {
			text := j.text
			j.text = `set -o errexit; : | eval "$SNIPPET"`
			j.silent("SNIPPET="+text, "CI_JOB_NAME="+name)
			if got := j.wrote(); got["name"] != name {
				t.Errorf("wrote %q", got)
			}
		})
	})
	// What it sets does not stay.
	inShells(t, func(t *testing.T, j *jobShell) {
		j.before = "umask 027; set -u"
		j.text += "\n" + `[ "$(umask)" = 0027 ] && [ -z "${rest-}${file-}${LC_ALL-}" ] && case $- in *u*) ;; *) false ;; esac || echo changed`
		j.silent()
	})
}

// All that only the job knows is in the file, for an exporter that knows nothing.
func TestAfterScriptFields(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"CI_METRICS_NAME": "dotnet_build", "CI_METRICS_VERSION": "1.4.0", "CI_JOB_NAME": "build-api", "CI_PROJECT_PATH": "shop/api",
		"CI_JOB_STATUS": "failed", "CI_JOB_STARTED_AT": "2026-03-01T12:00:00Z", "CI_JOB_ID": "77", "CI_JOB_URL": "https://gitlab.example/shop/api/-/jobs/77",
		"CI_JOB_STAGE": "build", "CI_COMMIT_REF_NAME": "feature/ü", "CI_COMMIT_SHA": "c0ffee", "CI_PIPELINE_ID": "9",
		"CI_PIPELINE_SOURCE": "push", "CI_RUNNER_DESCRIPTION": "runner 1",
	}
	fields := map[string]string{
		"name": "CI_METRICS_NAME", "version": "CI_METRICS_VERSION", "job": "CI_JOB_NAME", "project": "CI_PROJECT_PATH",
		"status": "CI_JOB_STATUS", "started": "CI_JOB_STARTED_AT", "job_id": "CI_JOB_ID", "url": "CI_JOB_URL",
		"stage": "CI_JOB_STAGE", "ref": "CI_COMMIT_REF_NAME", "sha": "CI_COMMIT_SHA", "pipeline": "CI_PIPELINE_ID",
		"source": "CI_PIPELINE_SOURCE", "runner": "CI_RUNNER_DESCRIPTION",
	}
	inShells(t, func(t *testing.T, j *jobShell) {
		var all []string
		for name, value := range env {
			all = append(all, name+"="+value)
		}
		j.silent(all...)
		got := j.wrote()
		for field, variable := range fields {
			if got[field] != env[variable] {
				t.Errorf("%s is %q, want %q", field, got[field], env[variable])
			}
		}
		if len(got) != len(fields) {
			t.Errorf("wrote %q", got)
		}
		// What is not there is left out; a status must be.
		j.before = "set -eu"
		j.silent()
		if got := j.wrote(); len(got) != 1 || got["status"] != "unknown" {
			t.Errorf("of nothing it wrote %q", got)
		}
		// Lengths are bytes in every shell.
		j.silent("LC_ALL=C.UTF-8", "CI_COMMIT_REF_NAME="+strings.Repeat("ü", 128), "CI_METRICS_VERSION="+strings.Repeat("ü", 127))
		if got := j.wrote(); got["ref"] != "" || len(got["version"]) != 254 {
			t.Errorf("of lengths near the limit it wrote %q", got)
		}
		// A field that is too long would cost the job; only name and project are worth that.
		began := time.Now()
		all = all[:0]
		for name := range env {
			if name != "CI_JOB_ID" { // a number, always
				all = append(all, name+"="+strings.Repeat("\"\x01", 1000))
			}
		}
		j.silent(all...)
		if got := j.wrote(); len(got) != 2 || len(got["name"]) != 2000 || len(got["project"]) != 2000 {
			t.Errorf("of long values it wrote %q", got)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the job waited %v", took)
		}
	})
}

// Another user reads the file although the job's umask was 077, and a file of an
// earlier job is replaced, whatever it was like.
func TestAfterScriptReadable(t *testing.T) {
	t.Parallel()
	harness.NeedRoot(t)
	inShells(t, func(t *testing.T, j *jobShell) {
		builds, err := os.MkdirTemp("", "builds") // others can't enter t.TempDir
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(builds) })
		j.builds = builds
		if err := os.Chmod(builds, 0o755); err != nil {
			t.Fatal(err)
		}
		j.before = "umask 077"
		for _, id := range []string{"1", "2"} {
			j.silent("CI_JOB_ID="+id, "CI_JOB_NAME=build")
			read := exec.Command("cat", j.file())
			read.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			if out, err := read.CombinedOutput(); err != nil || !strings.Contains(string(out), `"job_id":"`+id+`"`) {
				t.Errorf("another user reads: %v %s", err, out)
			}
			if err := os.Chmod(j.file(), 0o400); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The file is another one each time: who reads sees the old or the new, never half.
func TestAfterScriptReplaces(t *testing.T) {
	t.Parallel()
	inShells(t, func(t *testing.T, j *jobShell) {
		j.silent("CI_JOB_ID=1")
		before, err := os.Open(j.file())
		if err != nil {
			t.Fatal(err)
		}
		defer before.Close()
		j.silent("CI_JOB_ID=2")
		var old map[string]string
		if err := json.NewDecoder(before).Decode(&old); err != nil || old["job_id"] != "1" {
			t.Errorf("the file was written over: %q %v", old, err)
		}
		if got := j.wrote()["job_id"]; got != "2" {
			t.Errorf("job_id %q", got)
		}
		// Another path, also one without a directory.
		j.before = "cd " + j.builds
		for _, path := range []string{filepath.Join(j.builds, "a", "b", "77.json"), "bare.json", "./-n.json"} {
			j.silent("CI_METRICS_FILE="+path, "CI_JOB_ID=3")
			if !filepath.IsAbs(path) {
				path = filepath.Join(j.builds, path)
			}
			if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), `"3"`) {
				t.Errorf("%s: %s %v", path, text, err)
			}
		}
	})
}

// Where it can't write it says so, and the job goes on as it was.
func TestAfterScriptFails(t *testing.T) {
	t.Parallel()
	for what, prepare := range map[string]func(j *jobShell) error{
		"no directory": func(j *jobShell) error {
			return os.WriteFile(filepath.Join(j.builds, ".metrics"), nil, 0o644)
		},
		"a directory in its place": func(j *jobShell) error { return os.MkdirAll(j.file(), 0o755) },
		"disk full": func(j *jobShell) error {
			j.before = "trap '' XFSZ; ulimit -f 0"
			return nil
		},
		"no tools, no directory": func(j *jobShell) error {
			j.path = "/nowhere"
			j.before = "mkdir() { echo no mkdir >&2; return 127; }" // busybox has its own
			return nil
		},
		"read-only": func(j *jobShell) error {
			harness.NeedRoot(j.t)
			j.uid = nobody
			for _, dir := range []string{filepath.Dir(j.builds), j.builds} {
				if err := os.Chmod(dir, 0o755); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			inShells(t, func(t *testing.T, j *jobShell) {
				if err := prepare(j); err != nil {
					t.Fatal(err)
				}
				for _, before := range []string{"", "\nset -eu"} {
					j.before += before
					said := j.run("CI_JOB_NAME=build")
					lines := strings.Split(strings.TrimSpace(said), "\n")
					if len(lines) < 2 || !strings.Contains(lines[len(lines)-1], "CI Jobs Metrics: could not write") {
						t.Errorf("it says %s", said)
					}
				}
				j.before += "\nexec 2>&-" // not even that can be said
				j.run()
				_ = filepath.WalkDir(j.builds, func(path string, e fs.DirEntry, _ error) error {
					if strings.HasSuffix(path, ".new") {
						t.Errorf("%s was left", path)
					}
					return nil
				})
			})
		})
	}
}

// An image without mkdir and mv: where the directory is there, the file is written.
func TestAfterScriptWithoutTools(t *testing.T) {
	t.Parallel()
	inShells(t, func(t *testing.T, j *jobShell) {
		j.path = "/nowhere"
		if err := os.Mkdir(filepath.Dir(j.file()), 0o755); err != nil {
			t.Fatal(err)
		}
		j.before = "set -C"
		j.silent("CI_JOB_NAME=before")
		j.silent("CI_JOB_NAME=\n\"")
		if got := j.wrote()["name"]; got != "\n\"" {
			t.Errorf("name %q", got)
		}
	})
}

// From the job's shell to the metrics: an exporter that knows nothing but where the file
// is, as in a container that the operator added to the pod.
func TestAfterScriptCounts(t *testing.T) {
	t.Parallel()
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	var jobs int
	for name, command := range harness.Shells {
		harness.NeedProgram(t, command[0])
		j := &jobShell{t: t, command: command, builds: t.TempDir(), text: afterScript(t)}
		var log logtest.Buffer
		exporter := exec.Command(harness.Program(t, "exporter"), j.file(), receiver.Address)
		exporter.Env, exporter.Stderr = []string{"HOSTNAME=pod-" + name}, &log
		if err := exporter.Start(); err != nil {
			t.Fatal(err)
		}
		jobs++
		j.silent("CI_METRICS_NAME=dotnet_build", "CI_METRICS_VERSION=1.4.0", `CI_JOB_NAME=say "hi" \ $(x)`+"\t🙂",
			"CI_PROJECT_PATH=shop/"+name, "CI_JOB_STATUS=failed", fmt.Sprint("CI_JOB_ID=", jobs),
			"CI_JOB_URL=https://gitlab.example/shop/-/jobs/"+fmt.Sprint(jobs), "CI_RUNNER_DESCRIPTION="+strings.Repeat("r", 300),
			"CI_JOB_STARTED_AT="+time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
		want := fmt.Sprintf(`cijob_runs_total{template="dotnet_build",project="shop/%s",status="failed"} 1`, name)
		if err := harness.Eventually(func() error {
			page, err := harness.Fetch(receiver.URL("/metrics"))
			if err == nil && !strings.Contains(page, want) {
				err = fmt.Errorf("no %s", want)
			}
			return err
		}); err != nil {
			t.Errorf("%v\n%s\n%s", err, log.String(), receiver.LogExcerpt())
		}
		_ = exporter.Process.Signal(syscall.SIGTERM)
		if err := exporter.Wait(); err != nil || !strings.Contains(log.String(), fmt.Sprintf("id=gitlab.example/%d/dotnet_build", jobs)) {
			t.Errorf("the exporter: %v\n%s", err, log.String())
		}
	}
	page, err := harness.Fetch(receiver.URL("/metrics"))
	if err != nil || strings.Count(page, "\ncijob_runs_total{") != jobs || !strings.Contains(page, `cijob_receiver_problems_warned_total{reason="control_characters"} `) {
		t.Errorf("%v\n%s", err, page)
	}
}
