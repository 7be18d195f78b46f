package harness

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An Ending is a way in which a receiver leaves its ledger.
type Ending int

// The endings leave the jobs in different files.
const (
	Stopped   Ending = iota // everything is in the ledger's file
	Killed                  // everything is in the write-ahead log
	Restarted               // stopped, started and killed: half here, half there
)

// LedgerAfter returns a receiver that has recorded jobs and has ended, and the senders to
// which the jobs were acknowledged.
func LedgerAfter(t *testing.T, how Ending) (*Receiver, *Senders) {
	t.Helper()
	receiver := NewReceiver(t)
	senders := NewSenders(t, receiver, Large)
	recordJobs(t, receiver, senders, "first")
	switch how {
	case Stopped:
		receiver.Stop(t)
	case Restarted:
		receiver.Stop(t)
		recordJobs(t, receiver, senders, "second")
		receiver.Kill()
	case Killed:
		receiver.Kill()
	}
	return receiver, senders
}

// recordJobs starts the receiver and sends it jobs, enough for a file of many pages.
func recordJobs(t *testing.T, receiver *Receiver, senders *Senders, ids string) {
	t.Helper()
	receiver.Start(t)
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 3 {
		var items []Item
		for k := range 50 {
			items = append(items, senders.item(r, fmt.Sprintf("%s-%d-%d", ids, n, k)))
		}
		if answer, err := senders.Try(t.Context(), items); err != nil || answer.Recorded != len(items) {
			t.Fatalf("%+v, %v\n%s", answer, err, receiver.LogExcerpt())
		}
	}
}

// CheckStartRefused starts the receiver. It wants an exit with an error that has all the given
// texts, and the files in the ledger's directory unchanged.
func CheckStartRefused(t *testing.T, receiver *Receiver, want ...string) {
	t.Helper()
	CheckStartRefusedAs(t, receiver, nil, want...)
}

// CheckStartRefusedAs does as CheckStartRefused, and starts the receiver as another user.
func CheckStartRefusedAs(t *testing.T, receiver *Receiver, credential *syscall.Credential, want ...string) {
	t.Helper()
	before := LedgerFiles(t, filepath.Dir(receiver.Ledger))
	from := len(receiver.Log.String())
	if credential != nil {
		receiver.program = publicCopy(t, receiver.program)
	}
	cmd := exec.Command(receiver.Arguments()[0], receiver.Arguments()[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	receiver.Launch(t, cmd)
	if err := receiver.WaitReady(); err == nil {
		page, err := Fetch(receiver.URL("/metrics/jobs"))
		receiver.Kill()
		t.Fatalf("it starts, with %d counters (%v)\n%s", len(Counters(page)), err, receiver.Log.String()[from:])
	}
	if code := receiver.WaitExit(t); code == 0 {
		t.Errorf("exit code %d, want another", code)
	}
	log := receiver.Log.String()[from:]
	for _, text := range append(want, receiver.Ledger) {
		if !strings.Contains(log, text) {
			t.Errorf("it does not say %q:\n%s", text, log)
		}
	}
	after := LedgerFiles(t, filepath.Dir(receiver.Ledger))
	for name, content := range after {
		// The receiver creates the lock before it opens the file.
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

// publicCopy copies a program to a directory that every user may enter. The repository may be
// in one that only root may enter.
func publicCopy(t *testing.T, program string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "program")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, filepath.Base(program))
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(copied, content, 0o755)); err != nil { //nolint:gosec // for every user
		t.Fatal(err)
	}
	return copied
}

// LedgerFiles returns the contents of a ledger's directory by name. It leaves out what may
// change without harm: the -shm, which is an index of the -wal, an empty -wal, and the first
// line of the lock, which names the process.
func LedgerFiles(t *testing.T, dir string) map[string][]byte {
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
