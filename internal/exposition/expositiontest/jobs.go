package expositiontest

import (
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// Bounds are the receiver's default buckets, in seconds.
var Bounds = []float64{60, 120, 300, 600, 900, 1200}

// mostPerLine keeps a fuzzer from asking for billions of jobs.
const mostPerLine = 1000

// Jobs reads jobs from a text. A line stands for some that are alike; its fields
// are separated by tabs: how many, name, project, status, and how many seconds
// each took, if that is known. Lines that begin with // and lines that no receiver
// would accept are left out.
func Jobs(text string) []job.Job {
	var jobs []job.Job
	for line := range strings.SplitSeq(text, "\n") {
		fields := append(strings.Split(line, "\t"), "", "", "", "")
		times, err := strconv.Atoi(fields[0])
		if err != nil || strings.HasPrefix(line, "//") {
			continue
		}
		report := job.Report{Name: fields[1], Project: fields[2], Status: fields[3], Duration: fields[4]}
		verdict := report.Check(time.Unix(1e9, 0), time.Hour)
		if !verdict.Accepted() {
			continue
		}
		for range min(times, mostPerLine) {
			jobs = append(jobs, verdict.Job)
		}
	}
	return jobs
}

// Random makes some jobs whose names and projects are built from the given words,
// often with endings that metrics have, so that names collide in every way. Some have
// an id, a version and a stage. The same seed gives the same jobs.
func Random(seed uint64, words ...string) []job.Job {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // nothing is secret
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	endings := []string{"_duration", "_total", "_created", "_bucket", "_sum", "_count", "_", "-", " ", "é", "٣", "🚀"}
	var jobs []job.Job
	for range 1 + random.IntN(40) {
		name := pick(words)
		for range random.IntN(4) {
			name += pick(endings)
		}
		report := job.Report{Name: name, Project: pick(words), Status: string(job.Statuses[random.IntN(len(job.Statuses))])}
		report.Version, report.Stage = pick([]string{"", "1.0", name}), pick(words)
		if random.IntN(2) == 0 {
			limit := math.Pow(float64(job.MaxDuration.Microseconds()), random.Float64()) // all magnitudes alike
			report.ID = pick([]string{"", "1", words[0], strings.Repeat("é", 120+random.IntN(10))})
			report.Duration = strconv.FormatFloat(math.Floor(limit)/1e6, 'f', 6, 64)
		}
		if verdict := report.Check(time.Unix(1e9, 0), time.Hour); verdict.Accepted() {
			jobs = append(jobs, verdict.Job)
		}
	}
	return jobs
}

// Totals are the totals of some jobs, as rows from 1 on that were all received at one
// time.
func Totals(jobs []job.Job, s totals.Settings) *totals.Totals {
	t := totals.New(s)
	for i := range jobs {
		t.Apply(int64(i+1), time.Unix(1e9, 0), &jobs[i])
	}
	return t
}

// Model says by Key which samples the exposition of some jobs has, in both views,
// each found by looking at every job. It shares no code with what it is compared
// with, so the rules for names are said here a second time.
func Model(jobs []job.Job, bounds []float64) map[string]float64 {
	m := model{}
	microseconds := map[string]int64{}
	for _, j := range jobs {
		status, project, template := Label{"status", string(j.Status)}, Label{"project", j.Project}, Label{"template", j.Name}
		m[Key(Metric(j.Name, "_total"), project, status)]++
		m[Key("cijob_runs_total", template, project, status)]++
		if j.Timed {
			m.observe(microseconds, j.Duration, bounds, Metric(j.Name, "_duration"), status)
			m.observe(microseconds, j.Duration, bounds, "cijob_duration_seconds", template, status)
		}
	}
	for k, us := range microseconds {
		m[k] = float64(us) / 1e6
	}
	return m
}

type model map[string]float64

func (m model) observe(microseconds map[string]int64, took time.Duration, bounds []float64, metric string, labels ...Label) {
	microseconds[Key(metric+"_sum", labels...)] += took.Microseconds()
	m[Key(metric+"_count", labels...)]++
	for _, b := range bounds {
		n := 0.0
		if took.Seconds() <= b {
			n = 1
		}
		m[Key(metric+"_bucket", append(labels, Label{"le", strconv.FormatFloat(b, 'g', -1, 64)})...)] += n
	}
	m[Key(metric+"_bucket", append(labels, Label{"le", "+Inf"})...)]++
}

var (
	separators = regexp.MustCompile(`[^A-Za-z0-9_]+`)
	selectors  = regexp.MustCompile(`[\x{180B}-\x{180D}\x{180F}\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]`)
	spelling   = regexp.MustCompile(`[\p{L}\p{N}\p{Mn}\p{Mc}]`)
	ascii      = regexp.MustCompile(`[\x00-\x7F]+`)
)

// Metric is the metric of a template's named view; suffix is _total or _duration.
func Metric(template, suffix string) string {
	beyond := selectors.ReplaceAllString(ascii.ReplaceAllString(template, ""), "")
	folded := separators.ReplaceAllString(template, "_")
	if !spelling.MatchString(beyond) && strings.Trim(folded, "_") != "" {
		return "ci_" + folded + suffix
	}
	whole := "ci_" + template + suffix
	if metricName.MatchString(whole) {
		return whole
	}
	var b strings.Builder
	b.WriteString("U__")
	for _, r := range whole {
		switch {
		case r == '_':
			b.WriteString("__")
		case metricName.MatchString("x" + string(r)):
			b.WriteRune(r)
		default:
			b.WriteString("_" + strconv.FormatInt(int64(r), 16) + "_")
		}
	}
	return b.String()
}
