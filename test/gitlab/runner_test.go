package gitlab_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/test/internal/harness"
)

func readRunner(t *testing.T, name string) *harness.RunnerConfig {
	t.Helper()
	path := harness.GitLabDir + "runner/" + name
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return harness.ParseRunner(t, path, string(text))
}

func TestRunnerServices(t *testing.T) {
	t.Parallel()
	kubernetes := readRunner(t, "kubernetes-service.config.toml").Runners[0]
	docker := readRunner(t, "docker.config.toml").Runners[0]
	if kubernetes.Executor != "kubernetes" || docker.Executor != "docker" || docker.Docker.WaitForServicesTimeout != -1 {
		t.Errorf("executors %q and %q, which waits %d s for ports", kubernetes.Executor, docker.Executor, docker.Docker.WaitForServicesTimeout)
	}
	for _, services := range [][]harness.RunnerService{kubernetes.Kubernetes.Services, docker.Docker.Services} {
		if len(services) != 1 || services[0].Name == "" || !slices.Equal(services[0].Entrypoint, []string{"/exporter"}) {
			t.Fatalf("services %+v", services)
		}
		harness.CheckService(t, services[0].Name, services[0])
	}
	once := readRunner(t, "docker-once.config.toml").Runners[0].Docker
	program, _ := readCI(t, harness.GitLabDir+"shell.gitlab-ci.yml")["default"].(map[any]any)
	if target := strings.Split(once.Volumes[1], ":")[1]; !strings.Contains(fmt.Sprint(program), filepath.Base(target)) {
		t.Errorf("the jobs don't call %s", target)
	}
	var values struct {
		Runners struct{ Config string }
	}
	text, err := os.ReadFile(harness.GitLabDir + "runner/values.yaml")
	if err != nil || harness.StrictYAML(text).Decode(&values) != nil {
		t.Fatal("values.yaml is not read:", err)
	}
	want, err := os.ReadFile(harness.GitLabDir + "runner/kubernetes-service.config.toml")
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
	if err := harness.StrictYAML([]byte(spec.Patch)).Decode(&patch); err != nil || len(patch.Containers) != 1 {
		t.Fatal("the patch is not one container:", err)
	}
	container := patch.Containers[0]
	if !strings.HasPrefix(container.Name, "svc-") {
		t.Errorf("GitLab Runner 17.6 to 18.5 fails the job when %s ends", container.Name)
	}
	if m := container.VolumeMounts; len(m) != 1 || m[0].Name != "repo" || !strings.HasPrefix(container.Args[0], m[0].MountPath+"/") {
		t.Errorf("%s is not in %+v", container.Args[0], m)
	}
	harness.CheckExporterAccepts(t, container.Name, container.Args)

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
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	var log logtest.Buffer
	exporter := exec.Command(harness.Program(t, "exporter"), filepath.Join(t.TempDir(), "none"), receiver.Address)
	exporter.Env, exporter.Stderr = env, &log
	if err := exporter.Start(); err != nil {
		t.Fatal(err)
	}
	if err := harness.Eventually(func() error {
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
	page, err := harness.Fetch(receiver.URL("/metrics"))
	if err != nil || !strings.Contains(page, `cijob_runs_total{template="dotnet_build",project="shop/api",status="unknown"} 1`) {
		t.Errorf("the job does not count as unknown: %v\n%s", err, log.String())
	}
}
