// Package demo_test runs the program of make demo.
package demo_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/test/internal/harness"
)

// demo starts make demo's program, with the README's after_script.
func demo(ctx context.Context, t *testing.T, bin string) (*exec.Cmd, *logtest.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(ctx, harness.Program(t, "demo"), "-bin", bin, "-readme", "../../README.md")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = harness.Patience
	var out logtest.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

// The demo checks itself that no job is lost or counted twice: the README's
// after_script, exporters and a receiver that is killed. Without a terminal it ends.
func TestDemo(t *testing.T) {
	t.Parallel()
	cmd, out := demo(t.Context(), t, filepath.Dir(harness.Program(t, "receiver")))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"SIGKILL",
		`ci_dotnet_build_total{project="shop/web",status="failed"} 1`,
		`ci_test_total{project="shop/api",status="success"} 2`,
		`ci_deploy_total{project="shop/web",status="success"} 1`,
		`cijob_runs_total{template="integration_test",project="shop/api",status="unknown"} 1`,
		"10 jobs ran, 10 count",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// Told to end in the middle, it takes its programs with it and complains of nothing;
// without programs it says so.
func TestDemoEndsEarly(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd, out := demo(ctx, t, filepath.Dir(harness.Program(t, "receiver")))
	if err := harness.Eventually(func() error {
		if !strings.Contains(out.String(), "its after_script runs") {
			return errors.New("no job ends")
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cancel()
	_ = cmd.Wait() // it says that its context ended, whatever the program did
	if code := cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(out.String(), "demo:") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if !strings.Contains(out.String(), "Stopped") {
		t.Errorf("the receiver was not stopped in order:\n%s", out)
	}
	cmd, out = demo(t.Context(), t, t.TempDir())
	if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "no such file") {
		t.Errorf("without programs: %v\n%s", err, out)
	}
}
