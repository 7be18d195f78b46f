package harness

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// Shells are the commands of the shells that GitLab Runner finds in images: Debian's sh,
// Alpine's sh, and bash. Append the script.
var Shells = map[string][]string{
	"dash":    {"dash", "-c"},
	"busybox": {"busybox", "sh", "-c"},
	"bash":    {"bash", "-c"},
}

// GitLabDir is the directory of the files for GitLab, seen from a package of tests.
const GitLabDir = "../../deploy/gitlab/"

// CheckShell wants the text to be a valid script in every shell. where names it in errors.
func CheckShell(t *testing.T, where, text string) {
	t.Helper()
	for _, command := range Shells {
		NeedProgram(t, command[0])
		args := slices.Insert(slices.Clone(command[1:]), len(command)-2, "-n")
		if out, err := exec.Command(command[0], append(args, text)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s is no script for %s: %v %s", where, command[0], err, out)
		}
	}
}

// A RunnerService is an exporter in a container beside the job.
type RunnerService struct {
	Name       string   `toml:"name"`
	Alias      string   `toml:"alias"`
	Entrypoint []string `toml:"entrypoint"`
	Command    []string `toml:"command"`
}

// A RunnerConfig is GitLab Runner's config.toml, with the keys that our examples use. The names
// are those of the runner's common/config.go.
type RunnerConfig struct {
	Runners []struct {
		Executor     string          `toml:"executor"`
		FeatureFlags map[string]bool `toml:"feature_flags"`
		Kubernetes   struct {
			Services       []RunnerService   `toml:"services"`
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
			Services               []RunnerService `toml:"services"`
		} `toml:"docker"`
	} `toml:"runners"`
}

// ParseRunner decodes a config.toml. Unknown keys fail the test. where names it in errors.
func ParseRunner(t *testing.T, where, text string) *RunnerConfig {
	t.Helper()
	var config RunnerConfig
	meta, err := toml.Decode(text, &config)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		t.Errorf("%s: the runner knows no %v", where, unknown)
	}
	return &config
}

// CheckService fails the test unless the exporter accepts the arguments of a runner's service, and the
// service's container gets a name that begins with svc-: from version 17.9 on, GitLab Runner names it
// after the alias, and versions up to 18.5 fail the job when a container with another name ends.
func CheckService(t *testing.T, where string, s RunnerService) {
	t.Helper()
	if !strings.HasPrefix(s.Alias, "svc-") {
		t.Errorf("%s: the alias %q does not begin with svc-", where, s.Alias)
	}
	CheckExporterAccepts(t, where, s.Command)
}

// CheckExporterAccepts fails the test unless the exporter accepts the arguments. In a pod its log has
// no readers.
func CheckExporterAccepts(t *testing.T, where string, args []string) {
	t.Helper()
	cmd := exec.Command(Program(t, "exporter"), append([]string{"--once"}, args...)...)
	cmd.Env = []string{}
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "does not exist") {
		t.Errorf("%s: exporter %q: exit code %d\n%s", where, args, code, out)
	}
}
