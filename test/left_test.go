package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// How a receiver left its ledger.
type leaving int

const (
	stopped   leaving = iota // everything is in the ledger's file
	killed                   // everything is in the write-ahead log
	restarted                // stopped, started and killed: half here, half there
)

// leave is a service that has recorded jobs, acknowledged to the crowd, and is gone.
func leave(t *testing.T, how leaving) (*service, *crowd) {
	t.Helper()
	s := newService(t)
	c := newCrowd(t, s, large)
	record(t, s, c, "first")
	switch how {
	case stopped:
		s.stop(t)
	case restarted:
		s.stop(t)
		record(t, s, c, "second")
		s.kill()
	case killed:
		s.kill()
	}
	return s, c
}

// record starts the service and has it record jobs, enough for a file of many pages.
func record(t *testing.T, s *service, c *crowd, ids string) {
	t.Helper()
	s.start(t)
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 3 {
		var items []item
		for k := range 50 {
			items = append(items, c.item(r, fmt.Sprintf("%s-%d-%d", ids, n, k)))
		}
		if answer, err := c.try(t.Context(), items); err != nil || answer.Recorded != len(items) {
			t.Fatalf("%+v, %v\n%s", answer, err, s.excerpt())
		}
	}
}

// refused starts the service and wants it to end with an error that has all the
// given texts, and to leave all files as they were.
func refused(t *testing.T, s *service, want ...string) {
	t.Helper()
	refusedAs(t, s, nil, want...)
}

// refusedAs is refused with a credential to start the service with.
func refusedAs(t *testing.T, s *service, credential *syscall.Credential, want ...string) {
	t.Helper()
	before := files(t, filepath.Dir(s.ledger))
	from := len(s.log.String())
	cmd := exec.Command(s.arguments()[0], s.arguments()[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	s.launch(t, cmd)
	if err := s.ready(); err == nil {
		page, err := fetch(s.url("/metrics/jobs"))
		s.kill()
		t.Fatalf("it starts, with %d counters (%v)\n%s", len(counters(page)), err, s.log.String()[from:])
	}
	if code := s.exit(t); code == 0 {
		t.Errorf("exit code %d, want another", code)
	}
	log := s.log.String()[from:]
	for _, text := range append(want, s.ledger) {
		if !strings.Contains(log, text) {
			t.Errorf("it does not say %q:\n%s", text, log)
		}
	}
	after := files(t, filepath.Dir(s.ledger))
	for name, content := range after {
		// The lock is made before the first look at the file.
		if _, ok := before[name]; !ok && !strings.HasSuffix(name, ".lock") {
			t.Errorf("%s is new, with %d bytes", name, len(content))
		}
	}
	for name := range before {
		if content, ok := after[name]; !ok {
			t.Errorf("%s is gone", name)
		} else if !bytes.Equal(before[name], content) {
			t.Errorf("%s was changed: from %d to %d bytes", name, len(before[name]), len(content))
		}
	}
}

// files are the contents of a directory's files by name, as far as they matter: the
// -shm is only an index of the -wal, an empty -wal comes and goes, and the lock's first
// line names who uses it.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	contents := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), "-wal") && len(content) == 0 {
			continue
		}
		if strings.HasSuffix(e.Name(), ".lock") {
			_, content, _ = bytes.Cut(content, []byte("\n"))
		}
		contents[e.Name()] = content
	}
	return contents
}
