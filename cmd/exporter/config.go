package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ci-jobs-metrics/internal/exporter"
	"ci-jobs-metrics/internal/steps/client"
)

// config is what the command line says.
type config struct {
	path     string
	receiver string

	shutdownTimeout time.Duration
	reportMissing   bool
	once            bool
	proxy           string
	proxyURL        *url.URL
	caFile          string
	tokenFile       string
	tokenOverHTTP   bool
	directory       bool // path is one
	stateFile       string
	deleteAfter     time.Duration
	version         bool

	flags *flag.FlagSet
}

// twins are the flags that the environment can set as well. The others are not among
// them: the environment belongs to the job, which should not redirect what is sent or
// say who is trusted, have files read or deleted, or make the exporter exit.
var twins = []string{"shutdown-timeout", "report-missing"}

// twin is the environment variable of a flag.
func twin(name string) string {
	return "CI_METRICS_EXPORTER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// parse reads the command line. It returns flag.ErrHelp if help is asked for.
func parse(args []string) (*config, error) {
	c := &config{flags: flag.NewFlagSet("exporter", flag.ContinueOnError)}
	c.flags.SetOutput(io.Discard) // run says it, in its own way
	c.flags.Usage = func() {}
	c.flags.DurationVar(&c.shutdownTimeout, "shutdown-timeout", exporter.DefaultShutdownTimeout,
		"how long to keep trying to deliver after SIGTERM")
	c.flags.BoolVar(&c.reportMissing, "report-missing", false,
		"report a job without a file as unknown, also without CI_METRICS_NAME")
	c.flags.BoolVar(&c.once, "once", false,
		"deliver the present file, trying for --shutdown-timeout, and exit:\n      0 if everything is recorded, 1 if not")
	c.flags.StringVar(&c.proxy, "proxy", "",
		"`URL` of an HTTP or SOCKS5 proxy; HTTP_PROXY of the environment is not used")
	c.flags.StringVar(&c.caFile, "tls-ca-file", "",
		"`FILE` with the certificates, in PEM, of the CA that the receiver's is from,\n      in place of the system's; may be replaced at any time")
	c.flags.StringVar(&c.tokenFile, "token-file", "",
		"`FILE` with a token, sent as Authorization: Bearer over TLS; may be replaced\n      at any time")
	c.flags.BoolVar(&c.tokenOverHTTP, "token-over-http", false,
		"send the token without TLS too, where anybody on the way can read it")
	c.flags.StringVar(&c.stateFile, "state-file", "",
		"`FILE` that remembers what was delivered of a directory; default .delivered in it")
	c.flags.DurationVar(&c.deleteAfter, "delete-after", 0,
		"delete files of a directory that are delivered and were last written so long\n      ago, such as 48h; without it none is deleted")
	c.flags.BoolVar(&c.version, "version", false, "print the version and exit")
	positional, err := interspersed(c.flags, args)
	if err != nil || c.version {
		return c, err
	}
	return c, c.check(positional)
}

// interspersed parses flags before, between and after the other arguments.
func interspersed(flags *flag.FlagSet, args []string) (positional []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		rest := flags.Args()
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" {
			return append(positional, rest...), nil
		}
		if len(rest) == 0 {
			return positional, nil
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
}

func (c *config) check(positional []string) (err error) {
	if len(positional) != 2 {
		return fmt.Errorf("expected <file-path> and <receiver-hostname>, got %q", positional)
	}
	c.path, c.receiver = positional[0], positional[1]
	c.directory = isDirectory(c.path)
	switch {
	case c.path == "":
		return errors.New("<file-path> is empty")
	case strings.Contains(c.path, "$CI_") || strings.Contains(c.path, "${CI_"):
		return fmt.Errorf("<file-path> %q holds a variable that was not expanded: no shell reads this command", c.path)
	case c.shutdownTimeout <= 0:
		return fmt.Errorf("--shutdown-timeout=%v must be longer than 0", c.shutdownTimeout)
	case c.deleteAfter < 0:
		return fmt.Errorf("--delete-after=%v must not be negative", c.deleteAfter)
	case !c.directory && (c.stateFile != "" || c.deleteAfter != 0):
		return fmt.Errorf("--state-file and --delete-after need a directory, but %q is a file: end the path in / for a directory", c.path)
	}
	if c.proxy != "" {
		if c.proxyURL, err = client.ParseProxy(c.proxy); err != nil {
			return err
		}
	}
	sender, err := c.sender() // it does not connect
	if err == nil {
		sender.Close()
	}
	return err
}

// isDirectory reports whether the path stands for a directory. A path with the name of a job's file is a
// file, whatever exists when the exporter starts, and links are not followed: both may be left over, or
// made by the job.
func isDirectory(path string) bool {
	if strings.HasSuffix(path, "/") {
		return true
	}
	info, err := os.Lstat(path)
	return err == nil && info.IsDir() && filepath.Ext(path) != ".json"
}

// sender is the client that the arguments ask for.
func (c *config) sender() (*client.Client, error) {
	sender, err := client.New(c.receiver, client.Options{
		Proxy: c.proxyURL, UserAgent: "ci-jobs-metrics-exporter/" + version,
		CAFile: c.caFile, TokenFile: c.tokenFile, PlainToken: c.tokenOverHTTP,
	})
	if errors.Is(err, client.ErrPlainToken) {
		err = fmt.Errorf("%w, or give --token-over-http", err)
	}
	return sender, err
}

// fromEnvironment sets the flags that the command line leaves alone. A value that
// can't be used is reported and otherwise as if it weren't there.
func (c *config) fromEnvironment(env exporter.Environ, log *slog.Logger) {
	given := make(map[string]bool)
	c.flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, name := range twins {
		value, _ := env(twin(name))
		if given[name] || value == "" {
			continue
		}
		err := c.flags.Set(name, value)
		if err == nil && c.shutdownTimeout <= 0 {
			err = errors.New("must be longer than 0")
		}
		if err != nil {
			fallback := c.flags.Lookup(name).DefValue
			log.Error("the variable's value can't be used; the default is taken", "variable", twin(name), "value", value,
				"error", err, "default", fallback)
			_ = c.flags.Set(name, fallback) // it was good before
		}
	}
}
