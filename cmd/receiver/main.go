// Command receiver takes finished CI jobs at /steps, records each exactly once, and
// shows what became of them: as Prometheus metrics, as a page of KPI at /, and at /api/v1. Without arguments it listens on
// :80 and keeps its ledger in the working directory. It has commands as well that
// verify, back up and restore a ledger, and take counters out of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // images have no files beside the program

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/receiver"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

// stopTimeout is how long a stop may take: less than the 30 s that Kubernetes gives.
const stopTimeout = 25 * time.Second

func main() {
	relaxGC()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	options, command, err := parse(os.Args[1:], os.Stderr)
	if err == nil && command != nil {
		err = command(ctx, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "receiver: error:", err)
		os.Exit(1)
	}
	if command != nil {
		return
	}
	if err := run(ctx, options); err != nil {
		options.Logger.Error("The receiver ends with an error", "err", err)
		os.Exit(1)
	}
}

// run is the program: service up, and down again when ctx ends.
func run(ctx context.Context, options *receiver.Options) error {
	logger := options.Logger
	logger.Info("Starting receiver", "version", version.Info(), "build", version.BuildContext())
	r, err := receiver.New(ctx, *options)
	if err != nil && ctx.Err() != nil {
		logger.Debug("The start was broken off", "err", err) // whatever else is wrong, the next start meets again
		logger.Info("Stopped while it was starting")
		return nil
	}
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve() }()
	select {
	case err = <-served: // it should not return before Stop
	case <-ctx.Done():
		logger.Info("Stopping: requests under way are finished, then the ledger is closed")
	}
	stopCtx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err = errors.Join(err, r.Stop(stopCtx)); err == nil {
		logger.Info("Stopped")
	}
	return err
}

// parse turns arguments, and environment variables where there is no argument,
// into the options to serve with, or into another command that was given.
func parse(args []string, stderr io.Writer) (*receiver.Options, command, error) {
	app := kingpin.New("receiver", "Records finished CI jobs and shows how CI templates do: as Prometheus metrics at /metrics, as a page at /, and at /api/v1. "+
		"Every flag can also be given in the environment: --web.listen-address as CI_METRICS_RECEIVER_WEB_LISTEN_ADDRESS.")
	app.UsageTemplate(usageTemplate).UsageFuncs(usageFunctions)
	app.HelpFlag.Short('h')
	app.Version(version.Print("receiver"))
	app.UsageWriter(os.Stdout)

	o := &receiver.Options{}
	app.Flag("ledger", "Where jobs are recorded: sqlite:PATH. Default: sqlite:ci-jobs-metrics.db in the working directory.").
		Default("sqlite:ci-jobs-metrics.db").PlaceHolder("sqlite:PATH").StringVar(&o.Ledger)
	serve := app.Command(serveCommand, "Take jobs at /steps and show them at /metrics, at / and at /api/v1. This is the default command.").Default()
	o.Web = &web.FlagConfig{
		WebListenAddresses: serve.Flag("web.listen-address", "Where to listen, such as :8080 or 127.0.0.1:8080. Repeatable.").
			Default(":80").PlaceHolder(":80").Strings(),
		WebConfigFile: serve.Flag("web.config.file", "File that can enable TLS or basic authentication, as exporter-toolkit's web-configuration.md describes.").
			Default("").PlaceHolder("FILE").String(),
		WebSystemdSocket: new(bool),
	}
	serve.Flag("web.max-connections", "Largest number of connections. Above it, connections that wait for their next request are closed.").
		Default(strconv.Itoa(receiver.DefaultMaxConnections)).SetValue(&whole{"web.max-connections", &o.MaxConnections})
	retention := period{"ledger.retention", model.Duration(ledger.DefaultRetention)}
	serve.Flag("ledger.retention", "How long jobs, and the ids that keep them from counting twice, are kept after receipt, such as 90d. Totals are kept for ever.").
		Default("90d").SetValue(&retention)
	buckets := serve.Flag("metrics.buckets", "Upper bounds of the duration histograms in seconds. A change discards the histograms, which then begin again. Default: 60,120,300,600,900,1200.").
		Default("60,120,300,600,900,1200").PlaceHolder("60,120,...").String()
	serve.Flag("metrics.label", "Label to add to the labelled metrics: "+strings.Join(totals.LabelNames(), ", ")+". Repeatable; in the environment, one on each line. Every value makes its own series.").
		PlaceHolder("LABEL").StringsVar(&o.Totals.Labels)
	serve.Flag("metrics.max-series", "Largest number of label sets (template, project, status and added labels) of the metrics. Each is one series; a histogram is nine more for each template, status and added label. Above it, new values count as "+totals.Other+": first added labels, then projects, then templates. Label sets with it have room for a tenth as many, at least 600.").
		Default(strconv.Itoa(totals.DefaultMaxSets)).SetValue(&whole{"metrics.max-series", &o.Totals.MaxSets})
	serve.Flag("metrics.families", "Views of the jobs at /metrics: named (ci_<name>_total), labelled (cijob_runs_total), or both.").
		Default(string(exposition.Both)).SetValue(&o.Families)
	zone := serve.Flag("kpi.time-zone", "Time zone of the days on the page and at /api/v1: a name of the IANA database, such as Europe/Berlin. A change applies to the past as well.").
		Default("UTC").String()
	kpiRetention := period{"kpi.retention", model.Duration(ledger.DefaultRollupRetention)}
	serve.Flag("kpi.retention", "How far back the page and /api/v1 reach, such as 800d; at least --ledger.retention.").
		Default("800d").SetValue(&kpiRetention)
	logConfig := addLogFlags(serve, stderr)
	addEnvironment(app)
	commands := addCommands(app, &o.Ledger)

	name, err := app.Parse(withDash(args))
	if err != nil {
		return nil, nil, fmt.Errorf("%w%s, try --help", err, fromEnvironment(app))
	}
	if name != serveCommand {
		return nil, commands[name], nil
	}
	if o.Totals.Bounds, err = parseBuckets(*buckets); err != nil {
		return nil, nil, fmt.Errorf("--metrics.buckets=%s: %w", *buckets, err)
	}
	if o.Retention = time.Duration(retention.Duration); o.Retention < time.Hour {
		return nil, nil, fmt.Errorf("--ledger.retention=%s: keep jobs for an hour at least: a report that is sent again within it counts once", retention)
	}
	if o.KPIRetention = time.Duration(kpiRetention.Duration); o.KPIRetention < o.Retention {
		return nil, nil, fmt.Errorf("--kpi.retention=%s is shorter than --ledger.retention=%s: answers reach back at least as far as jobs are kept", kpiRetention, retention)
	}
	if o.Zone, err = rollup.LoadZone(*zone); err != nil {
		return nil, nil, fmt.Errorf("--kpi.time-zone: %w", err)
	}
	if err := totals.CheckLabels(o.Totals.Labels); err != nil {
		return nil, nil, fmt.Errorf("--metrics.label: %w", err)
	}
	o.Logger = promslog.New(logConfig)
	return o, nil, nil
}

// A whole is the value of a flag: 1 or more. Unlike kingpin's, its errors name the flag.
type whole struct {
	flag  string
	value *int
}

func (w *whole) String() string { return strconv.Itoa(*w.value) }

func (w *whole) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return fmt.Errorf("--%s=%s: give a whole number, at least 1", w.flag, s)
	}
	*w.value = n
	return nil
}

// A period is the value of a flag likewise.
type period struct {
	flag string
	model.Duration
}

func (p *period) Set(s string) error {
	if err := p.Duration.Set(s); err != nil {
		return fmt.Errorf("--%s=%s: %w: give a number and its unit, such as 12h or 90d", p.flag, s, err)
	}
	return nil
}

// addLogFlags is promslog's own AddFlags, for one command.
func addLogFlags(command *kingpin.CmdClause, stderr io.Writer) *promslog.Config {
	config := &promslog.Config{Writer: stderr, Level: promslog.NewLevel(), Format: promslog.NewFormat()}
	command.Flag(promslogflag.LevelFlagName, promslogflag.LevelFlagHelp).
		Default("info").HintOptions(promslog.LevelFlagOptions...).SetValue(config.Level)
	command.Flag(promslogflag.FormatFlagName, promslogflag.FormatFlagHelp).
		Default("logfmt").HintOptions(promslog.FormatFlagOptions...).SetValue(config.Format)
	return config
}

// addEnvironment gives every flag a twin in the environment. The prefix is long
// because Kubernetes sets RECEIVER_PORT in every pod beside a Service of that name.
func addEnvironment(app *kingpin.Application) {
	for name, flag := range settings(app) {
		flag.Envar("CI_METRICS_RECEIVER_" + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(name)))
	}
}

// settings are the flags that say how a receiver works, by their names.
func settings(app *kingpin.Application) map[string]*kingpin.FlagClause {
	serve := app.GetCommand(serveCommand)
	flags := map[string]*kingpin.FlagClause{"ledger": app.GetFlag("ledger")}
	for _, flag := range serve.Model().Flags {
		flags[flag.Name] = serve.GetFlag(flag.Name)
	}
	return flags
}

// fromEnvironment names the variables that were taken as flags, for errors that
// don't say which flag they are about.
func fromEnvironment(app *kingpin.Application) string {
	var names []string
	for _, flag := range settings(app) {
		if name := flag.Model().Envar; os.Getenv(name) != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return ""
	}
	return " (from the environment: " + strings.Join(names, ", ") + ")"
}

// parseBuckets reads ascending positive numbers of seconds, divided by commas or
// spaces.
func parseBuckets(s string) ([]float64, error) {
	var bounds []float64
	for _, field := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		b, err := strconv.ParseFloat(field, 64)
		if err != nil || math.IsNaN(b) || math.IsInf(b, 0) || b <= 0 {
			return nil, fmt.Errorf("%q is not a positive number of seconds (+Inf is always there)", field)
		}
		if n := len(bounds); n > 0 && b <= bounds[n-1] {
			return nil, fmt.Errorf("%v must be above %v: give the bounds in ascending order", b, bounds[n-1])
		}
		bounds = append(bounds, b)
	}
	if len(bounds) == 0 {
		return nil, errors.New("give at least one upper bound, such as 60")
	}
	return bounds, nil
}
