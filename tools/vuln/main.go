// Command vuln looks for known vulnerabilities that a module can reach, without a network: it
// runs govulncheck with the database that the module golang.org/x/vulndb holds. It exits with
// govulncheck's status, which is 3 when the code calls something vulnerable.
//
// Usage, in this directory: go run . DIRECTORY, where DIRECTORY holds the module to check.
//
// The database's own indexer (cmd/indexdb of the same module) needs 400 more packages to build.
// govulncheck reads only the two index files that this program writes.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . DIRECTORY")
		os.Exit(2)
	}
	err := run(os.Args[1])
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

// run checks the module in the given directory.
func run(directory string) error {
	reports, err := reports()
	if err != nil {
		return err
	}
	database, err := os.MkdirTemp("", "vulndb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(database)
	if err := writeIndex(database, reports); err != nil {
		return fmt.Errorf("indexing the database of vulnerabilities: %w", err)
	}
	tool, err := exec.Command("go", "tool", "-n", "govulncheck").Output()
	if err != nil {
		return fmt.Errorf("building govulncheck: %w", err)
	}
	check := exec.Command(strings.TrimSpace(string(tool)), "-db", "file://"+database, "-C", directory, "./...")
	check.Stdout, check.Stderr = os.Stdout, os.Stderr
	return check.Run()
}

// reports returns the directory of the reports, one JSON file of the OSV schema each.
func reports() (string, error) {
	module, err := exec.Command("go", "mod", "download", "-json", "golang.org/x/vulndb").Output()
	if err != nil {
		return "", fmt.Errorf("downloading golang.org/x/vulndb: %w", err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(module, &m); err != nil {
		return "", fmt.Errorf("downloading golang.org/x/vulndb: %w", err)
	}
	return filepath.Join(m.Dir, "data", "osv"), nil
}

// A report is one vulnerability, as far as the index needs it.
type report struct {
	ID       string
	Modified time.Time
	Affected []struct {
		Package struct{ Name string }
		Ranges  []struct {
			Events []struct{ Fixed string }
		}
	}
}

// A module and its vulns are an entry of index/modules.json.
type module struct {
	Path  string `json:"path"`
	Vulns []vuln `json:"vulns"`
}

type vuln struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"`
}

// writeIndex makes a database, in the layout of go.dev/doc/security/vuln/database, over the
// reports of a directory.
func writeIndex(database, reports string) error {
	files, err := filepath.Glob(filepath.Join(reports, "GO-*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no reports in %s", reports)
	}
	var newest time.Time
	modules := map[string]*module{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if r.Modified.After(newest) {
			newest = r.Modified
		}
		r.addTo(modules)
	}
	sorted := make([]*module, 0, len(modules))
	for _, m := range modules {
		sorted = append(sorted, m)
	}
	slices.SortFunc(sorted, func(a, b *module) int { return strings.Compare(a.Path, b.Path) })
	index := filepath.Join(database, "index")
	if err := os.Mkdir(index, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(reports, filepath.Join(database, "ID")); err != nil {
		return err
	}
	return errors.Join(
		writeJSON(filepath.Join(index, "db.json"), struct {
			Modified time.Time `json:"modified"`
		}{newest}),
		writeJSON(filepath.Join(index, "modules.json"), sorted),
	)
}

// addTo adds the report to each module that it affects. The fixed version of the index is the
// last one: govulncheck uses it to skip modules that are newer.
func (r *report) addTo(modules map[string]*module) {
	for _, affected := range r.Affected {
		path := affected.Package.Name
		m := modules[path]
		if m == nil {
			m = &module{Path: path}
			modules[path] = m
		}
		v := vuln{ID: r.ID, Modified: r.Modified}
		for _, ranges := range affected.Ranges {
			for _, event := range ranges.Events {
				v.Fixed = event.Fixed // "" if the last range has no end
			}
		}
		m.Vulns = append(m.Vulns, v)
	}
}

func writeJSON(file string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
