package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/receiver"
	"ci-jobs-metrics/internal/totals"
)

// serveCommand is the command that need not be given.
const serveCommand = "serve"

// stdoutFile is what - stands for.
const stdoutFile = "/dev/stdout"

// withDash returns the arguments with what - stands for behind backup: kingpin takes it
// for an empty argument, which is what a variable that is not set leaves in a script.
func withDash(args []string) []string {
	args = slices.Clone(args)
	at := slices.Index(args, "backup")
	for i := range args {
		if at >= 0 && i > at && args[i] == "-" {
			args[i] = stdoutFile
		}
	}
	return args
}

// A command is what the program does instead of serving.
type command func(ctx context.Context, stdout, stderr io.Writer) error

// usageTemplate is kingpin's, short, and with the flags of what it does without a
// command where no command is given.
const usageTemplate = `{{define "Arguments"}}{{if .FlagSummary}} {{.FlagSummary}}{{end}}{{range .Args}} <{{.Name}}>{{end}}{{end -}}

{{with .Context.SelectedCommand -}}
usage: {{$.App.Name}} {{.FullCommand}}{{template "Arguments" .}}

{{.Help|Wrap 0}}
Flags:
{{$.Context.Flags|FlagsToTwoColumns|FormatTwoColumns}}
{{- if $.Context.Args}}
Args:
{{$.Context.Args|ArgsToTwoColumns|FormatTwoColumns}}
{{- end}}
{{- else -}}
usage: {{.App.Name}} [<flags>]
       {{.App.Name}} <command> [<args> ...]

{{.App.Help|Wrap 0}}
Flags:
{{range .App.Commands}}{{if .Default}}{{join $.Context.Flags .Flags|FlagsToTwoColumns|FormatTwoColumns}}{{end}}{{end}}
Commands, which also take --ledger ({{.App.Name}} <command> --help has details):
{{range .App.Commands}}{{if ne .Name "help"}}  {{.Name}}{{template "Arguments" .}}
{{.Help|Wrap 4}}{{end}}{{end}}
{{- end -}}
`

var usageFunctions = template.FuncMap{"join": slices.Concat[[]*kingpin.FlagModel]}

// addCommands adds the commands that work on a ledger, and returns them by their
// names.
func addCommands(app *kingpin.Application, name *string) map[string]command {
	verify := app.Command("verify", "Check a ledger and report the result: the file, every job, and the stored totals against the jobs. "+
		"It changes nothing, and may run beside a receiver. Exits 1 if it finds a problem.")

	backup := app.Command("backup", "Copy a ledger, also while a receiver uses it. The copy has every job that was acknowledged before.")
	to := backup.Arg("TO", "The file to create, which must not exist yet; - writes to stdout.").Required().String()

	restore := app.Command("restore", "Replace the ledger by a backup, while no receiver uses it. The counters are then those of the backup.")
	from := restore.Arg("FROM", "The file of the backup.").Required().String()
	replace := restore.Flag("replace", "Restore also if there is a ledger already. It is kept beside the new one, under another name.").Bool()

	forget := app.Command("forget", "Remove the counters of a template or a project from the metrics, to make room for others, while no receiver uses the ledger. "+
		"With the next job they begin again at 0, a counter reset that rate() and increase() handle. The jobs stay. The histograms of a project's templates stay too; those of a template are removed.")
	var template, project optional
	forget.Flag("template", "The template, exactly as in the label template.").SetValue(&template)
	forget.Flag("project", "The project, exactly as in the label project. With --template: only that template's counters in the project, and no histograms.").SetValue(&project)

	return map[string]command{
		forget.FullCommand(): func(ctx context.Context, stdout, stderr io.Writer) error {
			return runForget(ctx, *name, template, project, stdout, stderr)
		},
		verify.FullCommand(): func(ctx context.Context, stdout, stderr io.Writer) error {
			return runVerify(ctx, *name, stdout, stderr)
		},
		backup.FullCommand(): func(ctx context.Context, stdout, stderr io.Writer) error {
			return runBackup(ctx, *name, *to, stdout, stderr)
		},
		restore.FullCommand(): func(ctx context.Context, stdout, stderr io.Writer) error {
			return runRestore(ctx, *name, *from, *replace, stdout, stderr)
		},
	}
}

func runVerify(ctx context.Context, name string, stdout, stderr io.Writer) error {
	path, err := receiver.LedgerPath(name)
	if err != nil {
		return err
	}
	p := startProgress(stderr)
	report, err := sqlite.Verify(ctx, path, p.is)
	p.stop()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(stdout, describe(path, report)); err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return errors.New("the ledger is not sound")
	}
	return nil
}

// describe is the report in words.
func describe(path string, r *sqlite.Report) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if n := len(r.Problems); n > 0 {
		line("Ledger %s is not sound:", path)
		for _, problem := range r.Problems {
			line("  problem: %s", problem)
		}
	} else {
		line("Ledger %s is sound.", path)
	}
	if r.Created.IsZero() {
		return b.String()
	}
	line("  made %s, schema %d", r.Created.Format(time.RFC3339), r.Schema)
	if r.Jobs == 0 && r.UpTo == 0 {
		line("  no jobs")
		return b.String()
	}
	line("  %s here, %s of them not in the stored totals yet", jobs(r.Jobs), grouped(r.Tail))
	if r.UpTo == 0 {
		return b.String()
	}
	line("  %s and %s stored, up to job %s", plural(int64(r.Runs), "counter"), plural(int64(r.Durations), "histogram"), grouped(r.UpTo))
	if r.ExactFrom > 1 {
		line("  labels were changed or counters forgotten before job %s: what came earlier, compared by its sum only", grouped(r.ExactFrom))
	}
	describeTotals(line, r)
	if r.Blocks > 0 {
		with := "all of their jobs"
		if !r.RollupsExact {
			with = "those of their jobs that are left, so it is a lower bound"
		}
		line("  %s of roll-ups, up to job %s, compared with a replay of %s", plural(int64(r.Blocks), "block"), grouped(r.RollupsUpTo), with)
	}
	return b.String()
}

func describeTotals(line func(string, ...any), r *sqlite.Report) {
	if r.Pruned() == 0 {
		line("  compared with a replay of all %s", jobs(r.Replayed))
		return
	}
	line("  compared with a replay of the %s that are left: %s of these totals past retention, so it is a lower bound",
		jobs(r.Replayed), jobs(r.Pruned()))
	line("  histograms all of whose jobs are left, compared exactly: %s", grouped(int64(r.Durations-r.Partial)))
}

func runBackup(ctx context.Context, name, to string, stdout, stderr io.Writer) error {
	if to == "" {
		return errors.New("backup: the name of the file to make is empty: name one, or - for stdout")
	}
	path, err := receiver.LedgerPath(name)
	if err != nil {
		return err
	}
	p := startProgress(stderr)
	if to == stdoutFile {
		err = sqlite.BackupTo(ctx, path, stdout, p.is)
	} else {
		err = sqlite.Backup(ctx, path, to, p.is)
	}
	p.stop()
	if err == nil && to != stdoutFile {
		fmt.Fprintf(stdout, "Ledger %s is copied to %s.\n", path, to)
	}
	return err
}

func runRestore(ctx context.Context, name, from string, replace bool, stdout, stderr io.Writer) error {
	path, err := receiver.LedgerPath(name)
	if err != nil {
		return err
	}
	p := startProgress(stderr)
	restored, err := sqlite.Restore(ctx, path, from, replace, time.Now(), p.is)
	p.stop()
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Ledger %s is restored from %s: made %s, up to job %s.\n",
		path, from, restored.Created.Format(time.RFC3339), grouped(restored.Last))
	if restored.Kept != "" {
		fmt.Fprintf(stdout, "The previous ledger is kept as %s.\n", restored.Kept)
	}
	return nil
}

func runForget(ctx context.Context, name string, template, project optional, stdout, stderr io.Writer) error {
	if !template.given && !project.given {
		return errors.New("forget: nothing to forget is given: add --template=NAME, --project=PATH, or both")
	}
	if template.given && template.value == "" || project.given && project.value == "" {
		return errors.New("forget: --template or --project is empty, such as by a variable that is not set: give it a value, or leave it out")
	}
	path, err := receiver.LedgerPath(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) { // else one would be made
		return fmt.Errorf("ledger %s: there is no such file: choose the ledger with --ledger=sqlite:PATH", path)
	}
	logger := promslog.New(&promslog.Config{Writer: stderr})
	store, err := sqlite.Open(ctx, path, time.Now(), logger)
	if who, used := sqlite.UsedBy(err); used {
		return fmt.Errorf("ledger %s: a receiver%s uses it: stop it, forget, and start it again", path, who)
	}
	if err != nil {
		return err
	}
	forgotten, err := ledger.Forget(ctx, store, template.value, project.value, logger)
	if err != nil {
		return fmt.Errorf("ledger %s: %w", path, err)
	}
	if forgotten == (totals.Forgotten{}) {
		return errors.New("forget: nothing counts there: give template and project exactly as the labels of cijob_runs_total, or of cijob_duration_seconds, say them")
	}
	fmt.Fprintf(stdout, "Forgot %s, in which %s counted, and %s.\n", plural(int64(forgotten.Sets), "label set"),
		jobs(int64(forgotten.Jobs)), plural(int64(forgotten.Histograms), "histogram"))
	return nil
}

// An optional is the value of a flag that may be left out, which is not to give it empty.
type optional struct {
	value string
	given bool
}

func (o *optional) String() string { return o.value }

func (o *optional) Set(value string) error {
	*o = optional{value, true}
	return nil
}

func jobs(n int64) string { return plural(n, "job") }

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}

// grouped writes 1 234 567.
func grouped(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s %03d", grouped(n/1000), n%1000)
}
