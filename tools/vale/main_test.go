package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lint checks files of testdata and returns what vale printed.
func lint(t *testing.T, directory string, files ...string) (ok bool, printed string) {
	t.Helper()
	vale, err := build()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ok, err = check(vale, directory, files, &out)
	if err != nil {
		t.Fatal(err)
	}
	return ok, out.String()
}

// Every rule rejects a bad page, a bad comment, or both.
func TestBadFilesAreRejected(t *testing.T) {
	ok, printed := lint(t, "testdata", "bad.md", "bad.go")
	if ok {
		t.Error("the files pass")
	}
	rules, err := filepath.Glob("styles/House/*.yml")
	if err != nil || len(rules) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	for _, rule := range rules {
		name := strings.TrimSuffix(filepath.Base(rule), ".yml")
		if !strings.Contains(printed, "House."+name+":") {
			t.Errorf("nothing breaks the rule %s:\n%s", name, printed)
		}
	}
	for _, word := range []string{"'told'", "'anew'", "'of which'", "'census'", "'questions'", "'survey'"} {
		if !strings.Contains(printed, word) {
			t.Errorf("%s is accepted:\n%s", word, printed)
		}
	}
}

// Code, quotes and questions are no matches.
func TestGoodFilesAreAccepted(t *testing.T) {
	if ok, printed := lint(t, "testdata", "good.md", "good.go"); !ok || printed != "" {
		t.Errorf("rejected:\n%s", printed)
	}
}

// The texts that a program prints are checked, on the line that they have in the source.
func TestLiterals(t *testing.T) {
	directory := t.TempDir()
	files, err := writeLiterals(".", directory, []string{"main.go"})
	if err != nil || !slices.Equal(files, []string{"main.go.txt"}) {
		t.Fatalf("%v, %v", files, err)
	}
	text, err := literals(filepath.Join("testdata", "bad.go"))
	if err != nil || text != strings.Repeat("\n", 8)+"nobody told us.\n" {
		t.Fatalf("%q, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(directory, "bad.go.txt"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if ok, printed := lint(t, directory, "bad.go.txt"); ok || !strings.Contains(printed, "bad.go.txt:9:") {
		t.Errorf("accepted, or on another line:\n%s", printed)
	}
}
