package main

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
)

// Set when the program is built: -ldflags "-X main.version=1.2.3 -X main.revision=abc".
var (
	version  = "dev"
	revision = "unknown"
)

const usage = `Usage: exporter [flags] <file-path> <receiver-hostname>
       exporter [flags] <directory>/ <receiver-hostname>
       exporter --help
`

const about = usage + `
Waits for the file in which a CI job writes how it ended, and sends it to the
receiver, which counts each job once. It uses no CPU while it waits, sends as soon
as the file is complete, retries until it is delivered, and stays until SIGTERM.
Run it as a service container of the job's pod.

  <file-path>          the file, also if it or its directory isn't there yet.
                       Regular, at most 1 MiB; symbolic links out of its directory
                       are not followed.
  <directory>/         for several jobs: each <job id>.json in it is one job's file.
                       It remembers deliveries in .delivered in the directory, and
                       deletes no file without --delete-after.
  <receiver-hostname>  host, host:port or URL of the receiver

In .gitlab-ci.yml, in the template to count:

  variables:
    CI_METRICS_NAME: dotnet_build
    CI_METRICS_VERSION: 1.4.0
  after_script:
    - file=$CI_BUILDS_DIR/.metrics/metrics.json
    - mkdir -p "${file%/*}"
    - echo "{\"job_id\":\"$CI_JOB_ID\",\"status\":\"$CI_JOB_STATUS\"}" > "$file"

(deploy/gitlab has an after_script with more fields that also works with umask 077).
Beside the job: exporter /builds/.metrics/metrics.json RECEIVER

The file holds one JSON object, an array of objects, or one object on each line. It
may be appended to or rewritten at any time; each item is sent once. Fields:

  status    success, failed, canceled, skipped, timedout or unknown; the only
            field without a default
  name      the name to count; default $CI_METRICS_NAME or $CI_JOB_NAME
  project   default $CI_PROJECT_PATH
  started   RFC 3339; default $CI_JOB_STARTED_AT
  finished  RFC 3339; default: the time at which the file was written
  duration  seconds; default finished - started
  id        the same id counts once; default <server>/<job id>/<name>
  job_id    of the job that wrote the file; if it isn't $CI_JOB_ID, the item was
            left over by another job and is ignored
  version, job, url, stage, ref, sha, pipeline, runner, source
            default CI_METRICS_VERSION, CI_JOB_NAME, CI_JOB_URL, CI_JOB_STAGE, ...

A job with CI_METRICS_NAME that ends without a readable file (timeout, eviction) is
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
Exit codes: 0 everything was delivered, or finally refused by the receiver; 1 something
was not delivered, or the file could not be read to its end (with --once: also if
something was refused, or is not JSON), and the log gives the reason; 2 wrong
arguments, on a terminal or with --once. Otherwise wrong arguments are logged and the
exporter waits for SIGTERM, because a container that exits can fail the job.
`)
	return b.String()
}

// versionLine names the version, the commit it was built from, and Go's.
func versionLine() string {
	return fmt.Sprintf("exporter, version %s (revision %s, %s, %s/%s)",
		version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
