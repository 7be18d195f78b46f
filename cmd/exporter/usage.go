package main

import (
	"cmp"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version = "dev"

const usage = `Usage: exporter [flags] <file-path> <receiver-hostname>
       exporter --help
`

const about = usage + `
Waits for the file in which a CI job writes how it ended, and sends it to the
receiver, which counts each job once. It waits without using CPU, sends as soon as
the file is complete, retries until it is delivered, and stays until SIGTERM: run it
as a service container of the job's pod.

  <file-path>          the file, also if it or its directory isn't there yet.
                       Regular, at most 1 MiB; symbolic links out of its directory
                       are not followed.
  <receiver-hostname>  host, host:port or URL of the receiver

In .gitlab-ci.yml, in the template whose use is to be counted:

  variables:
    CI_METRICS_NAME: dotnet_build
    CI_METRICS_VERSION: 1.4.0
  after_script:
    - echo "{\"status\":\"$CI_JOB_STATUS\"}" > /builds/metrics.json

The file holds one JSON object, an array of them, or one per line. More may be
appended or the file written anew at any time; each item is sent once. Fields:

  status    success, failed, canceled, skipped, timedout or unknown; the only one
            that has no default
  name      what to count; default $CI_METRICS_NAME or $CI_JOB_NAME
  project   default $CI_PROJECT_PATH
  started   RFC 3339; default $CI_JOB_STARTED_AT
  finished  RFC 3339; default when the file was written
  duration  seconds; default finished - started
  id        the same id counts once; default <server>/<job id>/<name>
  job_id    of the job that wrote the file; if it isn't $CI_JOB_ID the item is a
            left-over of another job and is ignored
  version, job, url, stage, ref, sha, pipeline, runner, source
            default CI_METRICS_VERSION, CI_JOB_NAME, CI_JOB_URL, CI_JOB_STAGE, ...

A job with CI_METRICS_NAME that ends without writing the file (timeout, eviction) is
reported as unknown.

Flags, before or after the arguments:

`

// help is all that --help prints.
func help() string {
	var b strings.Builder
	b.WriteString(about)
	c, _ := parse(nil) // for the flags; that arguments are missing is no matter
	c.flags.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "  --%s\n      %s", strings.TrimSpace(f.Name+" "+value), text)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(&b, " (default %s)", f.DefValue)
		}
		b.WriteString("\n")
	})
	b.WriteString("  --help\n      print this and exit\n\nEnvironment, where the flag isn't given:\n\n")
	for _, name := range twins {
		fmt.Fprintf(&b, "  %-38s --%s\n", twin(name), name)
	}
	b.WriteString(`
Exit codes: 0 everything was delivered; 1 something was lost, the log says what;
2 wrong arguments, on a terminal only: elsewhere it says so and waits for SIGTERM,
because a container that exits can fail the job.
`)
	return b.String()
}

// versionLine names the version, the commit it was built from, and Go's.
func versionLine() string {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return fmt.Sprintf("exporter, version %s (revision %s, %s, %s/%s)",
		version, cmp.Or(revision, "unknown"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
