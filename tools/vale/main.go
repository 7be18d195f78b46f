// Command vale checks the prose of the repository with vale and the rules in styles/House: every
// Markdown file, the comments of every Go file, the texts in Go string literals, which are the errors,
// log messages and help texts that users read, and other files with texts, such as alerts and page
// templates. It exits with 1 if a rule of level error matches; a warning doesn't count.
//
// Usage, in this directory: go run . [DIRECTORY], where DIRECTORY is the repository, ../.. by default.
// Building vale needs a C compiler.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// exempt are the folders whose comments are not checked yet: the ledger's packages are about to be
// rewritten. Their string literals are checked. The test data of this linter breaks its rules.
var exempt = []string{"internal/ledger/", "internal/rollup/", "internal/totals/", "tools/vale/testdata/"}

func main() {
	directory := filepath.Join("..", "..")
	if len(os.Args) > 1 {
		directory = os.Args[1]
	}
	ok, err := run(directory, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vale:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run checks the repository in the given directory, writes a line for each match, and reports whether
// there was no error.
func run(directory string, stdout io.Writer) (ok bool, err error) {
	vale, err := build()
	if err != nil {
		return false, err
	}
	files, err := tracked(directory, "*.go", "*.md")
	if err != nil {
		return false, err
	}
	checked := slices.DeleteFunc(slices.Clone(files), isExempt)
	prose, err := check(vale, directory, checked, stdout)
	if err != nil {
		return false, err
	}
	literals, err := os.MkdirTemp("", "vale")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(literals)
	texts, err := writeLiterals(directory, literals, files)
	if err != nil {
		return false, err
	}
	data, err := writeData(directory, literals)
	if err != nil {
		return false, err
	}
	texts = append(texts, data...)
	quoted, err := check(vale, literals, texts, stdout)
	return prose && quoted, err
}

// build builds vale and returns the path of the program.
func build() (string, error) {
	tool := exec.Command("go", "tool", "-n", "vale")
	tool.Stderr = os.Stderr
	path, err := tool.Output()
	if err != nil {
		return "", fmt.Errorf("building vale: %w: it needs a C compiler (Debian: apt-get install gcc libc6-dev)", err)
	}
	return strings.TrimSpace(string(path)), nil
}

// tracked returns the files of the given patterns that git tracks, without vendored ones.
func tracked(directory string, patterns ...string) ([]string, error) {
	list := exec.Command("git", append([]string{"ls-files", ":!*/vendor/*"}, patterns...)...)
	list.Dir, list.Stderr = directory, os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the files of the repository: %w", err)
	}
	files := strings.Fields(string(out))
	return slices.DeleteFunc(files, func(file string) bool { // deleted, but not committed yet
		_, err := os.Stat(filepath.Join(directory, file))
		return err != nil
	}), nil
}

func isExempt(file string) bool {
	return slices.ContainsFunc(exempt, func(folder string) bool { return strings.HasPrefix(file, folder) })
}

// check runs vale over files of a directory and reports whether it found no error.
func check(vale, directory string, files []string, stdout io.Writer) (ok bool, err error) {
	config, err := filepath.Abs(".vale.ini")
	if err != nil {
		return false, err
	}
	command := exec.Command(vale, append([]string{"--config", config, "--output", "line"}, files...)...)
	command.Dir, command.Stdout, command.Stderr = directory, stdout, os.Stderr
	if err := command.Run(); err != nil {
		if command.ProcessState != nil && command.ProcessState.ExitCode() == 1 {
			return false, nil
		}
		return false, fmt.Errorf("running vale: %w", err)
	}
	return true, nil
}

// writeLiterals writes the texts of each Go file, tests left out, into a file FILE.go.txt: every
// text on the line that it has in FILE.go, so that vale's positions can be used. It returns the
// names of the written files.
func writeLiterals(directory, to string, files []string) ([]string, error) {
	var written []string
	for _, file := range files {
		if filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "tools/vale/testdata/") {
			continue
		}
		text, err := literals(filepath.Join(directory, file))
		if err != nil {
			return nil, err
		}
		if text == "" {
			continue
		}
		name := filepath.Join(to, file+".txt")
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
		written = append(written, file+".txt")
	}
	return written, nil
}

// literals returns the string literals of a Go file that are texts, each on its line and as a
// sentence of its own. A text has three words or more.
func literals(file string) (string, error) {
	positions := token.NewFileSet()
	parsed, err := parser.ParseFile(positions, file, nil, 0)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	line := 1
	ast.Inspect(parsed, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil || len(strings.Fields(value)) < 3 || isSQL(value) {
			return true
		}
		for ; line < positions.Position(literal.Pos()).Line; line++ {
			text.WriteString("\n")
		}
		text.WriteString(value)
		if !strings.HasSuffix(value, ".") {
			text.WriteString(".") // texts on neighbouring lines are not one sentence
		}
		text.WriteString("\n")
		line += strings.Count(value, "\n") + 1
		return true
	})
	return text.String(), nil
}

// writeData writes each file of other formats into a file FILE.data.txt, with the same lines but
// without double quotes, which would hide its texts from vale.
func writeData(directory, to string) ([]string, error) {
	files, err := tracked(directory, "internal/api/openapi.json", "internal/page/templates/*", "deploy/**.yml", "deploy/**.sh",
		"deploy/**.toml", "scripts/*", "Makefile", "*.txtar")
	if err != nil {
		return nil, err
	}
	var written []string
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(directory, file))
		if err != nil {
			return nil, err
		}
		name := file + ".data.txt"
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(name)), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(to, name), bytes.ReplaceAll(text, []byte{'"'}, nil), 0o644); err != nil {
			return nil, err
		}
		written = append(written, name)
	}
	return written, nil
}

func isSQL(text string) bool {
	first := strings.ToLower(strings.Fields(text)[0])
	return slices.Contains([]string{"select", "insert", "update", "delete", "create", "with", "pragma"}, first) &&
		strings.ContainsAny(text, "=(*;")
}
