package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v2"

	"ci-jobs-metrics/internal/logtest"
)

const gitlabDir = "../deploy/gitlab/"

// A ciFile is a file of GitLab's, as far as it is looked at.
type ciFile map[string]any

// readCI reads the last YAML document of a file, which is the jobs behind a spec. A key
// that is there twice is an error.
func readCI(t *testing.T, path string) ciFile {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var last ciFile
	for decoder := strictYAML(text); ; {
		var document ciFile
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return last
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		last = document
	}
}

func strictYAML(text []byte) *yaml.Decoder {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.SetStrict(true)
	return decoder
}

// lines are the lines of an after_script, with what it refers to in its place.
func (f ciFile) lines(t *testing.T, job string, includes ciFile) []string {
	t.Helper()
	content, _ := f[job].(map[any]any)
	list, _ := content["after_script"].([]any)
	var lines []string
	for _, line := range list {
		switch line := line.(type) {
		case string:
			lines = append(lines, line)
		case []any: // !reference [job, keyword]
			if len(line) != 2 || line[1] != "after_script" {
				t.Fatalf("%s refers to %v", job, line)
			}
			lines = append(lines, includes.lines(t, fmt.Sprint(line[0]), nil)...)
		default:
			t.Fatalf("%s: %v is no line", job, line)
		}
	}
	if len(lines) == 0 {
		t.Errorf("%s has no after_script", job)
	}
	return lines
}

// What is included is the text that has the tests, and changes nothing by itself.
func TestIncludeHoldsTheAfterScript(t *testing.T) {
	t.Parallel()
	include := readCI(t, gitlabDir+"metrics.gitlab-ci.yml")
	script := include.lines(t, ".ci-jobs-metrics", nil)
	if len(include) != 1 || len(script) != 1 || script[0] != afterScript(t) {
		t.Errorf("metrics.gitlab-ci.yml is not .ci-jobs-metrics with the text of after_script.sh alone: %q", include)
	}
	if strings.Contains(afterScript(t), "$[[") {
		t.Error("GitLab would take a part of the text for an input")
	}
}

// Every example takes over what exists, and is a script for every shell.
func TestIncludeExamples(t *testing.T) {
	t.Parallel()
	include := readCI(t, gitlabDir+"metrics.gitlab-ci.yml")
	for file, job := range map[string]string{
		"default.gitlab-ci.yml":  "default",
		"template.gitlab-ci.yml": ".dotnet_build",
		"component/template.yml": "$[[ component.name ]]",
		"shell.gitlab-ci.yml":    "default",
	} {
		example := readCI(t, gitlabDir+file)
		lines := example.lines(t, job, include)
		if !slices.Contains(lines, afterScript(t)) {
			t.Errorf("%s does not report the job: %q", file, lines)
		}
		checkShell(t, file, strings.Join(lines, "\n"))
		includes, _ := example["include"].([]any)
		if len(includes) != 1 || includes[0].(map[any]any)["file"] != "/deploy/gitlab/metrics.gitlab-ci.yml" {
			t.Errorf("%s includes %v", file, includes)
		}
	}
	powershell := readCI(t, gitlabDir+"metrics-powershell.gitlab-ci.yml")
	powershell.lines(t, ".ci-jobs-metrics-powershell", nil)
}

// checkShell wants the text to be a script for every shell.
func checkShell(t *testing.T, where, text string) {
	t.Helper()
	for _, command := range shells {
		need(t, command[0])
		args := slices.Insert(slices.Clone(command[1:]), len(command)-2, "-n")
		if out, err := exec.Command(command[0], append(args, text)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s is no script for %s: %v %s", where, command[0], err, out)
		}
	}
}

// The shell executor's example, from the job's end to the metrics, and without a receiver.
func TestShellExample(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start(t)
	lines := readCI(t, gitlabDir+"shell.gitlab-ci.yml").lines(t, "default", readCI(t, gitlabDir+"metrics.gitlab-ci.yml"))
	bin := t.TempDir()
	if err := os.Symlink(filepath.Join(programs, "exporter"), filepath.Join(bin, "ci-jobs-metrics-exporter")); err != nil {
		t.Fatal(err)
	}
	id := 0
	for name, command := range shells {
		need(t, command[0])
		for _, receiver := range []string{s.address, "127.0.0.1:1"} {
			id++
			j := &jobShell{t: t, command: command, builds: t.TempDir(), before: "set -e", path: bin + ":" + os.Getenv("PATH")}
			j.text = strings.ReplaceAll(strings.Join(lines, "\n"), "receiver.example", receiver)
			said := j.run("CI_JOB_NAME=deploy", "CI_PROJECT_PATH=shop/"+name, "CI_JOB_STATUS=canceled", fmt.Sprint("CI_JOB_ID=", id),
				"CI_SERVER_URL=https://gitlab.example", "CI_JOB_STARTED_AT="+time.Now().UTC().Format(time.RFC3339))
			if receiver == s.address && !strings.Contains(said, fmt.Sprintf("id=gitlab.example/%d/deploy", id)) {
				t.Errorf("%s: the exporter says %s", name, said)
			}
			if left, _ := filepath.Glob(filepath.Join(j.builds, ".metrics", "*")); len(left) > 0 {
				t.Errorf("%s: left are %q", name, left)
			}
		}
		page, err := fetch(s.url("/metrics"))
		want := fmt.Sprintf(`cijob_runs_total{template="deploy",project="shop/%s",status="canceled"} 1`, name)
		if err != nil || !strings.Contains(page, want) {
			t.Errorf("no %s: %v\n%s", want, err, s.excerpt())
		}
	}
}

// A runnerService is an exporter beside the job.
type runnerService struct {
	Name       string   `toml:"name"`
	Alias      string   `toml:"alias"`
	Entrypoint []string `toml:"entrypoint"`
	Command    []string `toml:"command"`
}

// A runnerConfig is GitLab Runner's config.toml, with the keys that are used. They are
// those of the runner's common/config.go.
type runnerConfig struct {
	Runners []struct {
		Executor     string          `toml:"executor"`
		FeatureFlags map[string]bool `toml:"feature_flags"`
		Kubernetes   struct {
			Services       []runnerService   `toml:"services"`
			PodAnnotations map[string]string `toml:"pod_annotations"`
			PodSpec        []struct {
				Name      string `toml:"name"`
				PatchType string `toml:"patch_type"`
				Patch     string `toml:"patch"`
			} `toml:"pod_spec"`
		} `toml:"kubernetes"`
		Docker struct {
			Image                  string          `toml:"image"`
			Volumes                []string        `toml:"volumes"`
			WaitForServicesTimeout int             `toml:"wait_for_services_timeout"`
			Services               []runnerService `toml:"services"`
		} `toml:"docker"`
	} `toml:"runners"`
}

func parseRunner(t *testing.T, where, text string) *runnerConfig {
	t.Helper()
	var config runnerConfig
	meta, err := toml.Decode(text, &config)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		t.Errorf("%s: the runner knows no %v", where, unknown)
	}
	return &config
}

func readRunner(t *testing.T, name string) *runnerConfig {
	t.Helper()
	path := gitlabDir + "runner/" + name
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseRunner(t, path, string(text))
}

// accepted wants the exporter to understand the arguments, which nobody reads in a pod.
func accepted(t *testing.T, where string, args []string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, "exporter"), append([]string{"--once"}, args...)...)
	cmd.Env = []string{}
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "does not exist") {
		t.Errorf("%s: exporter %q: exit code %d\n%s", where, args, code, out)
	}
}

func TestRunnerServices(t *testing.T) {
	t.Parallel()
	kubernetes := readRunner(t, "kubernetes-service.config.toml").Runners[0]
	docker := readRunner(t, "docker.config.toml").Runners[0]
	if kubernetes.Executor != "kubernetes" || docker.Executor != "docker" || docker.Docker.WaitForServicesTimeout != -1 {
		t.Errorf("executors %q and %q, which waits %d s for ports", kubernetes.Executor, docker.Executor, docker.Docker.WaitForServicesTimeout)
	}
	for _, services := range [][]runnerService{kubernetes.Kubernetes.Services, docker.Docker.Services} {
		if len(services) != 1 || services[0].Name == "" || !slices.Equal(services[0].Entrypoint, []string{"/exporter"}) {
			t.Fatalf("services %+v", services)
		}
		accepted(t, services[0].Name, services[0].Command)
	}
	once := readRunner(t, "docker-once.config.toml").Runners[0].Docker
	program, _ := readCI(t, gitlabDir+"shell.gitlab-ci.yml")["default"].(map[any]any)
	if target := strings.Split(once.Volumes[1], ":")[1]; !strings.Contains(fmt.Sprint(program), filepath.Base(target)) {
		t.Errorf("the jobs don't call %s", target)
	}
	var values struct {
		Runners struct{ Config string }
	}
	text, err := os.ReadFile(gitlabDir + "runner/values.yaml")
	if err != nil || strictYAML(text).Decode(&values) != nil {
		t.Fatal("values.yaml is not read:", err)
	}
	want, err := os.ReadFile(gitlabDir + "runner/kubernetes-service.config.toml")
	if err != nil || values.Runners.Config != string(want) {
		t.Errorf("values.yaml does not hold kubernetes-service.config.toml: %v", err)
	}
}

// A podPatch is a patch of a pod's spec, with the names of Kubernetes' API.
type podPatch struct {
	Containers []struct {
		Name    string
		Image   string
		Command []string
		Args    []string
		Env     []struct {
			Name      string
			ValueFrom struct {
				FieldRef struct {
					FieldPath string `yaml:"fieldPath"`
				} `yaml:"fieldRef"`
			} `yaml:"valueFrom"`
		}
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
		Resources       struct{ Requests, Limits map[string]string }
		SecurityContext struct {
			RunAsNonRoot             bool `yaml:"runAsNonRoot"`
			RunAsUser                int  `yaml:"runAsUser"`
			RunAsGroup               int  `yaml:"runAsGroup"`
			AllowPrivilegeEscalation bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
			SeccompProfile           struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
	}
}

// runnerAnnotations are on every job's pod. The runner's buildPodAnnotations has them.
func runnerAnnotations(id string) map[string]string {
	return map[string]string{
		"job.runner.gitlab.com/id": id, "job.runner.gitlab.com/url": "https://gitlab.example/shop/api/-/jobs/" + id,
		"job.runner.gitlab.com/sha": "c0ffee", "job.runner.gitlab.com/ref": "main", "job.runner.gitlab.com/name": "build-api",
	}
}

// The operator's container: what the pod's annotations hand over is enough for a job that
// ends without its after_script.
func TestRunnerPodSpec(t *testing.T) {
	t.Parallel()
	config := readRunner(t, "kubernetes-pod_spec.config.toml").Runners[0]
	spec := config.Kubernetes.PodSpec[0]
	if !config.FeatureFlags["FF_USE_ADVANCED_POD_SPEC_CONFIGURATION"] || spec.PatchType != "strategic" {
		t.Errorf("flags %v, patch type %q", config.FeatureFlags, spec.PatchType)
	}
	if strings.Contains(spec.Patch, "{{") {
		t.Error("the Helm chart would take a part of it for a template")
	}
	var patch podPatch
	if err := strictYAML([]byte(spec.Patch)).Decode(&patch); err != nil || len(patch.Containers) != 1 {
		t.Fatal("the patch is not one container:", err)
	}
	container := patch.Containers[0]
	if !strings.HasPrefix(container.Name, "svc-") {
		t.Errorf("GitLab Runner 17.6 to 18.5 fails the job when %s ends", container.Name)
	}
	if m := container.VolumeMounts; len(m) != 1 || m[0].Name != "repo" || !strings.HasPrefix(container.Args[0], m[0].MountPath+"/") {
		t.Errorf("%s is not in %+v", container.Args[0], m)
	}
	accepted(t, container.Name, container.Args)

	variables := map[string]string{ // of the job, which the runner puts into its annotations
		"$CI_METRICS_NAME": "dotnet_build", "$CI_METRICS_VERSION": "1.4.0", "$CI_PROJECT_PATH": "shop/api",
		"$CI_JOB_STARTED_AT": time.Now().Add(-time.Minute).UTC().Format(time.RFC3339), "$CI_SERVER_HOST": "gitlab.example",
	}
	annotations := runnerAnnotations("77")
	for name, value := range config.Kubernetes.PodAnnotations {
		if variables[value] == "" {
			t.Errorf("the annotation %s is %s", name, value)
		}
		annotations[name] = variables[value]
	}
	env := []string{"HOSTNAME=pod"}
	used := map[string]bool{}
	for _, e := range container.Env {
		name, _ := strings.CutPrefix(e.ValueFrom.FieldRef.FieldPath, "metadata.annotations['")
		name, ok := strings.CutSuffix(name, "']")
		if !ok || annotations[name] == "" {
			t.Errorf("%s is taken from %s", e.Name, e.ValueFrom.FieldRef.FieldPath)
		}
		used[name] = true
		env = append(env, e.Name+"="+annotations[name])
	}
	if len(used) != len(annotations) {
		t.Errorf("of %q only %q are handed over", slices.Sorted(maps.Keys(annotations)), slices.Sorted(maps.Keys(used)))
	}
	s := newService(t)
	s.start(t)
	var log logtest.Buffer
	exporter := exec.Command(filepath.Join(programs, "exporter"), filepath.Join(t.TempDir(), "none"), s.address)
	exporter.Env, exporter.Stderr = env, &log
	if err := exporter.Start(); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() error {
		if !strings.Contains(log.String(), "waiting") {
			return errors.New("it does not wait")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	_ = exporter.Process.Signal(syscall.SIGTERM)
	if err := exporter.Wait(); err != nil || !strings.Contains(log.String(), "id=gitlab.example/77/dotnet_build") {
		t.Errorf("the exporter: %v\n%s", err, log.String())
	}
	page, err := fetch(s.url("/metrics"))
	if err != nil || !strings.Contains(page, `cijob_runs_total{template="dotnet_build",project="shop/api",status="unknown"} 1`) {
		t.Errorf("the job does not count as unknown: %v\n%s", err, log.String())
	}
}
