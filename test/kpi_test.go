package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// answerOnce wants the acknowledged jobs in the KPI, and no others.
func answerOnce(t *testing.T, acknowledged map[string]string, s *service) {
	t.Helper()
	want := map[string]int64{}
	for _, what := range acknowledged {
		f := strings.Fields(what)
		want[f[0]+" "+f[2]]++
	}
	body, err := fetch(s.url("/api/v1/templates?last=48h"))
	if err != nil {
		t.Fatalf("%v\n%s", err, s.excerpt())
	}
	var answer struct {
		Items []struct {
			Template string
			Current  struct {
				Jobs     int64
				Timed    int64
				Statuses map[string]int64
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var wrong []string
	jobs, timed := int64(0), int64(0)
	for _, row := range answer.Items {
		jobs += row.Current.Jobs
		timed += row.Current.Timed
		for status, n := range row.Current.Statuses {
			if key := row.Template + " " + status; n != want[key] {
				wrong = append(wrong, fmt.Sprintf("KPI: %s is %d, want %d", key, n, want[key]))
			}
		}
	}
	some(t, wrong)
	if all := int64(len(acknowledged)); jobs != all || timed != all {
		t.Errorf("KPI: %d jobs, %d with a duration, want %d", jobs, timed, all)
	}
}
