package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// programsVariable names the environment variable with the directory of programs that are
// built already. make sets it, so that not every package of tests builds them.
const programsVariable = "TEST_PROGRAMS"

// Program returns the absolute path of receiver, exporter or demo, built from this tree.
// It builds all three at the first call, unless TEST_PROGRAMS names their directory.
func Program(t testing.TB, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal("building the programs: ", err)
	}
	return filepath.Join(dir, name)
}

// programs builds into one directory for all packages: one after the other, and only the
// first finds anything to do.
var programs = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(programsVariable); dir != "" {
		return dir, nil
	}
	dir := filepath.Join(Repository(), "bin", "test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { //nolint:gosec // a descriptor fits
		return "", err
	}
	build := exec.Command(filepath.Join(Repository(), "scripts", "build"), dir, "receiver", "exporter", "demo")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
})

// Repository returns the absolute path of the repository, which has the working directory
// of every test in it.
var Repository = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "scripts", "build")); err == nil {
			break
		}
	}
	return dir
})

// BuiltTool returns the path of a program that make builds into bin, such as prometheus.
func BuiltTool(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(Repository(), "bin", name)
	if _, err := os.Stat(path); err != nil {
		Missing(t, "bin/"+name+" is missing; make "+name+" builds it")
	}
	return path
}

// RunReceiver runs one of the receiver's commands, such as verify, on a ledger.
func RunReceiver(t *testing.T, ledger string, args ...string) {
	t.Helper()
	args = append(args, "--ledger=sqlite:"+ledger)
	if out, err := exec.Command(Program(t, "receiver"), args...).CombinedOutput(); err != nil {
		t.Fatalf("receiver %v: %v\n%s", args, err, out)
	}
}
