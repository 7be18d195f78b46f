// Command exporter waits for the file in which a CI job writes how it ended, and
// sends it to a receiver. It runs as a container of the job's pod: see usage.go for
// what people read, package exporter for what it does.
//
// Here are its flags, its logger and its signals. It must not exit by itself:
// GitLab Runner 17.6 to 18.5 fails a job one of whose containers terminates,
// whatever its code. So wrong arguments are reported and then nothing is done until
// the pod ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"ci-jobs-metrics/internal/exporter"
)

func main() {
	for _, variable := range trusted {
		_ = os.Unsetenv(variable)
	}
	// Not as the environment says, which is the job's: a linter written in Go is often
	// run with GOGC=off. (A GOMEMLIMIT or GODEBUG that the runtime can't read ends the
	// program before this: docs/exporter.md says what to do.)
	debug.SetGCPercent(100)
	debug.SetMemoryLimit(math.MaxInt64)
	runtime.GOMAXPROCS(1) // there is never much to do, and each more costs memory on a large node
	os.Exit(run(os.Args[1:], os.LookupEnv, os.Stdin, os.Stdout, os.Stderr))
}

// trusted are variables with which Go lets the environment say which certificates to
// trust. Jobs set them for their own tools, with paths that this container doesn't have.
var trusted = []string{"SSL_CERT_FILE", "SSL_CERT_DIR"}

// Exit codes.
const (
	exitOK    = 0
	exitLost  = 1 // or, with --once, nothing to deliver
	exitUsage = 2 // only on a terminal, or with --once
)

// run is the program. It returns its exit code.
func run(args []string, env exporter.Environ, stdin *os.File, stdout, stderr io.Writer) int {
	signals := listen()
	log := slog.New(slog.NewTextHandler(stderr, nil))
	c, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, help())
		return exitOK
	case err == nil && c.version:
		_, _ = fmt.Fprintln(stdout, versionLine())
		return exitOK
	case err != nil && (isTerminal(stdin) || wantsOnce(args)):
		_, _ = fmt.Fprintf(stderr, "exporter: %v\n\n%s", err, usage)
		return exitUsage
	case err != nil:
		log.Error("wrong arguments: nothing will be sent", "error", err)
		_, _ = fmt.Fprint(stderr, usage)
		<-signals
		return exitOK
	}
	c.fromEnvironment(env, log)
	forgetStart()
	return deliver(c, env, log, signals)
}

// wantsOnce reports whether wrong arguments contain --once. The caller, such as an after_script, waits
// for the end, and would wait for ever.
func wantsOnce(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.ContainsFunc(args, func(arg string) bool {
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		yes, err := strconv.ParseBool(value)
		return name == "once" && strings.HasPrefix(arg, "-") && (!given || err == nil && yes)
	})
}

// listen takes over the signals before anything else is done. SIGHUP and a reader
// of the log that is gone are no reasons to end.
func listen() <-chan os.Signal {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	return signals
}

// deliver runs the exporter. The first signal asks it to finish, the second ends
// it as it is.
func deliver(c *config, env exporter.Environ, log *slog.Logger, signals <-chan os.Signal) int {
	sender, err := c.sender()
	if err != nil { // can't be: parse has tried
		log.Error("no receiver", "error", err)
		return exitLost
	}
	do := exporter.Run
	if c.once {
		do = exporter.Once
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() {
		done <- do(ctx, exporter.Options{
			Path: c.path, Send: sender.Send, Receiver: sender.Target(), Environ: env, Log: log,
			ShutdownTimeout: c.shutdownTimeout, ReportMissing: c.reportMissing,
			Directory: c.directory, Memory: c.stateFile, DeleteAfter: c.deleteAfter,
		})
	}()
	for {
		select {
		case err := <-done:
			sender.Close() // not if it is ended as it is: this waits for what it is doing
			return code(err, log)
		case s := <-signals:
			if ctx.Err() != nil {
				log.Error("second signal: ending at once", "signal", s)
				return exitLost
			}
			stop()
		}
	}
}

func code(err error, log *slog.Logger) int {
	if err != nil {
		log.Error("ended with losses", "error", err)
		return exitLost
	}
	return exitOK
}
