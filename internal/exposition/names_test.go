package exposition_test

import (
	"slices"
	"strings"
	"testing"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
)

// TestNames says in examples which metrics a template's name leads to.
func TestNames(t *testing.T) {
	for _, c := range []struct{ template, counter, histogram, help string }{
		{"dotnet_build", "ci_dotnet_build_total", "ci_dotnet_build_duration", "The number of dotnet build used"},
		{"dotnet build", "ci_dotnet_build_total", "ci_dotnet_build_duration", "The number of dotnet build used"},
		{"build:linux (x64)", "ci_build_linux_x64__total", "ci_build_linux_x64__duration", "The number of build linux x64  used"},
		{".hidden", "ci__hidden_total", "ci__hidden_duration", "The number of  hidden used"},
		{"a - _b", "ci_a__b_total", "ci_a__b_duration", "The number of a  b used"},
		{"9", "ci_9_total", "ci_9_duration", "The number of 9 used"},
		{"deploy 🚀", "ci_deploy__total", "ci_deploy__duration", "The number of deploy  used"},
		{"⚙️ deploy", "ci__deploy_total", "ci__deploy_duration", "The number of  deploy used"},
		{"__other__", "ci___other___total", "ci___other___duration", "The number of   other   used"},
		// Letters beyond ASCII, and the digits and marks that belong to them.
		{"é", "U__ci___e9___total", "U__ci___e9___duration", "The number of é used"},
		{"e\u0301", "U__ci__e_301___total", "U__ci__e_301___duration", "The number of e\u0301 used"},
		{"v²", "U__ci__v_b2___total", "U__ci__v_b2___duration", "The number of v² used"},
		// Nothing is left.
		{"🚀", "U__ci___1f680___total", "U__ci___1f680___duration", "The number of 🚀 used"},
		{"-", "U__ci___2d___total", "U__ci___2d___duration", "The number of - used"},
		{`\`, "U__ci___5c___total", "U__ci___5c___duration", `The number of \ used`},
		{"___", "ci_____total", "ci_____duration", "The number of ___ used"},
		// They look like escapes, but are names like others.
		{"_e9_", "ci__e9__total", "ci__e9__duration", "The number of  e9  used"},
		{"U__ci___e9___total", "ci_U__ci___e9___total_total", "ci_U__ci___e9___total_duration", "The number of U  ci   e9   total used"},
	} {
		jobs := "1\t" + c.template + "\tgroup/app\tsuccess\t1"
		doc := parse(t, exposition.Text, renderJobs(t, exposition.Text, jobs))
		counter, histogram := doc.Family(c.counter), doc.Family(c.histogram)
		if counter == nil || histogram == nil {
			t.Errorf("%q: got %s, want %s and %s", c.template, names(doc), c.counter, c.histogram)
			continue
		}
		if counter.Help != c.help {
			t.Errorf("%q: help is %q, want %q", c.template, counter.Help, c.help)
		}
	}
}

func names(doc *expositiontest.Document) string {
	var names []string
	for _, f := range doc.Families {
		names = append(names, f.Name)
	}
	return strings.Join(names, " ")
}

// FuzzNames renders one job of each of two templates. Different names never share
// a labelled series, and share a named one only if they differ in nothing but
// separators.
func FuzzNames(f *testing.F) {
	for _, pair := range [][2]string{
		{"dotnet build", "dotnet-build"}, {"dotnet_build", "dotnet__build"}, {"a", "A"},
		{"_", "__"}, {"_", "-"}, {"___", "🚀"}, {"🚀", "🔥"}, {":", "_"}, {":", "_:"},
		{"é", "è"}, {"é", "_e9_"}, {"é", "U___e9_"}, {"é", "U__ci___e9_"}, {"_é", "é_"}, {"é_", "é"},
		{"é_total", "é"}, {"é_duration", "é"}, {"x_duration", "x"}, {"x_total", "x"},
		{"\U00100000é", "\U000100000é"}, {"é0e9_", "é_0e9"}, {"stage ٣", "stage ٤"},
		{"cafe\u0301", "cafe_"}, {"⚙️ deploy", "⚙ deploy"}, {"x", "x"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		script := "1\t" + a + "\tp\tsuccess\t1\n1\t" + b + "\tp\tsuccess\t1"
		jobs := expositiontest.Jobs(script)
		if len(jobs) != 2 {
			t.Skip("a name that is not accepted")
		}
		same := jobs[0].Name == jobs[1].Name
		share := same || foldsTo(jobs[0].Name) != "" && foldsTo(jobs[0].Name) == foldsTo(jobs[1].Name)

		body := renderJobs(t, exposition.Text, script)
		labelled, named := countSeries(parse(t, exposition.Text, body))
		parse(t, exposition.OpenMetrics, renderJobs(t, exposition.OpenMetrics, script))
		if want := 2 - btoi(same); labelled != want {
			t.Errorf("%q, %q: %d labelled counters, want %d", a, b, labelled, want)
		}
		if want := 2 - btoi(share); named != want {
			t.Errorf("%q, %q: %d named counters, want %d", a, b, named, want)
		}
	})
}

// foldsTo is the base that a name shares with others, empty if it shares none.
func foldsTo(template string) string {
	metric := expositiontest.Metric(template, "_total")
	base := strings.TrimSuffix(strings.TrimPrefix(metric, "ci_"), "_total")
	if !strings.HasPrefix(metric, "ci_") || strings.Trim(base, "_:") == "" {
		return ""
	}
	return base
}

func countSeries(doc *expositiontest.Document) (labelled, named int) {
	for _, f := range doc.Families {
		switch {
		case f.Type != "counter":
		case f.Name == "cijob_runs_total":
			labelled = len(f.Samples)
		default:
			named += len(f.Samples)
		}
	}
	return labelled, named
}

func btoi(b bool) int { return slices.Index([]bool{false, true}, b) }
