package page_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Every number on a page is the one that the API's answer has, which the page links to.
func TestNumbersAreTheAnswers(t *testing.T) {
	s := full(t, nil)
	for _, path := range every {
		root := s.get(t, path)
		answers, compared := map[string]any{}, 0
		for _, n := range all(root, "data", "data-of") {
			link := answerOf(n)
			if answers[link] == nil {
				answers[link] = s.answer(t, link)
			}
			of, _ := attr(n, "data-of")
			got, _ := attr(n, "value")
			if want := number(t, answers[link], of); got != want {
				t.Errorf("%s: %s of %s is %q, and in the answer %q", path, of, link, got, want)
			}
			readable(t, path, n, of, got)
			compared++
		}
		if compared < 6 && !strings.HasPrefix(path, "/improve") {
			t.Errorf("%s: only %d numbers were compared", path, compared)
		}
	}
}

// A change on a page is better or worse exactly where the API's verdict is.
func TestVerdictsAreTheAnswers(t *testing.T) {
	s := full(t, nil)
	judged := 0
	for _, path := range []string{"/?last=24h", "/?last=7d", "/templates?last=7d", "/projects?last=7d&sort=-hours_lost", "/template?name=docker_build&last=7d", "/?last=7d&status=failed"} {
		answers := map[string]any{}
		for _, n := range all(s.get(t, path), "data", "data-of") {
			of, _ := attr(n, "data-of")
			place, field, ok := strings.Cut(of, "previous.")
			if !ok {
				continue
			}
			link := answerOf(n)
			if answers[link] == nil {
				answers[link] = s.answer(t, link)
			}
			field = strings.TrimPrefix(field, "durations.")
			want := verdictAt(answers[link], place, field)
			class, _ := attr(n.Parent, "class")
			got := ""
			for _, word := range []string{"better", "worse"} {
				if strings.Contains(class, word) {
					got = word
				}
			}
			if want == "no_change" {
				want = ""
			}
			if want != "" {
				judged++
			}
			neutral := strings.Contains(link, "/versions?") && (field == "projects" || field == "hours_lost")
			if got != want && !neutral {
				t.Errorf("%s: %s is %q on the page, and %q in the answer", path, of, got, want)
			}
		}
	}
	if judged == 0 {
		t.Error("no number is better or worse")
	}
}

// verdictAt is the verdict on a field, at a place such as items.3. of an answer; empty: null.
func verdictAt(answer any, place, field string) string {
	for name := range strings.SplitSeq(strings.TrimSuffix(place, "."), ".") {
		switch in := answer.(type) {
		case map[string]any:
			if name != "" {
				answer = in[name]
			}
		case []any:
			i, _ := strconv.Atoi(name)
			answer = in[i]
		}
	}
	verdict, _ := answer.(map[string]any)["verdicts"].(map[string]any)[field].(string)
	return verdict
}

// answerOf is the link to the answer that a number says it is of.
func answerOf(n *html.Node) string {
	for ; n != nil; n = n.Parent {
		if link, ok := attr(n, "data-answer"); ok {
			return link
		}
	}
	return ""
}

// number is what stands at a path of an answer, as a page has it; null is empty.
func number(t *testing.T, answer any, path string) string {
	t.Helper()
	for name := range strings.SplitSeq(path, ".") {
		switch in := answer.(type) {
		case map[string]any:
			answer = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(in) {
				t.Fatalf("there is no %s", path)
			}
			answer = in[i]
		}
	}
	if answer == nil {
		return ""
	}
	v, err := answer.(json.Number).Float64()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// readable says that a count is written in full, and a number that there is not is none.
func readable(t *testing.T, path string, n *html.Node, of, value string) {
	t.Helper()
	if strings.Contains(of, "previous") { // what is written is the change
		return
	}
	written := strings.NewReplacer("\u202f", "", "%", "", "h", "").Replace(text(n))
	if value == "" {
		if written != "–" {
			t.Errorf("%s: %s is written %q, and there is none", path, of, written)
		}
		return
	}
	v, _ := strconv.ParseFloat(value, 64)
	switch name := of[strings.LastIndex(of, ".")+1:]; name {
	case "p50_seconds", "p95_seconds", "duration_seconds":
		return
	case "success_rate", "share":
		v *= 100
	}
	got, err := strconv.ParseFloat(written, 64)
	if err != nil || got-v > 0.5 || v-got > 0.5 || v == float64(int(v)) && got != v {
		t.Errorf("%s: %s is %s, and is written %q", path, of, value, written)
	}
}

// What charts draw is what the answer has.
func TestChartsAreTheAnswers(t *testing.T) {
	s := full(t, nil)
	root := s.get(t, "/template?name=docker_build&last=7d")
	answer := s.answer(t, "/api/v1/template?name=docker_build&last=7d").(map[string]any)
	points := answer["series"].([]any)
	drawn := 0
	for _, n := range all(root, "script", "type") {
		var chart struct {
			Kind   string
			Labels []string
			Starts []string
			Cells  [][]json.Number
			Series []struct {
				Key    string
				Values []*json.Number
			}
		}
		if err := json.Unmarshal([]byte(text(n)), &chart); err != nil {
			t.Fatal(err)
		}
		drawn++
		for _, series := range chart.Series {
			for i, v := range series.Values {
				path := map[string]string{
					"stack": "series.%d.statuses." + series.Key, "band": "series.%d.durations." + series.Key + "_seconds",
					"distribution": "distribution." + series.Key + ".%d",
				}[chart.Kind]
				got := ""
				if v != nil {
					got = v.String()
				}
				if want := number(t, answer, fmt.Sprintf(path, i)); got != want {
					t.Errorf("%s: point %d of %s is %q, want %q", chart.Kind, i, series.Key, got, want)
				}
			}
		}
		for i, cells := range chart.Cells {
			for j, n := range cells {
				if want := number(t, answer, fmt.Sprintf("distribution.heat.%d.%d", i, j)); n.String() != want {
					t.Errorf("heat %d, %d is %s, want %s", i, j, n, want)
				}
			}
		}
		if chart.Kind != "distribution" && (len(chart.Labels) != len(points) || len(chart.Starts) != len(points)+1) {
			t.Errorf("%s has %d labels and %d starts for %d points", chart.Kind, len(chart.Labels), len(chart.Starts), len(points))
		}
	}
	if drawn != 4 {
		t.Errorf("%d charts", drawn)
	}
}
