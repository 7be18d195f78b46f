package api_test

import (
	"testing"

	"ci-jobs-metrics/internal/history"
)

// Findings are as they are described, of several kinds: what was planted is there.
func TestFindingsAreDescribed(t *testing.T) {
	const path = "/api/v1/findings"
	s, d := serve(t, "UTC", nil), readDescription(t)
	shape := history.Shape{Templates: 20, Projects: 100, Jobs: 25_000, Days: 90, End: now, Seed: 1, Planted: true}
	if err := shape.Fill(t.Context(), s.ledger.Record, nil); err != nil {
		t.Fatal(err)
	}
	_, body := s.ask(t, "GET", path)
	d.check(t, place(path, "200", d.Paths[path]["get"]), path, body)
	kinds := map[string]bool{}
	for _, one := range parse(t, body)["items"].([]any) {
		kinds[one.(map[string]any)["kind"].(string)] = true
	}
	if len(kinds) < 4 || !kinds["stopped"] {
		t.Errorf("there are %v", kinds)
	}
}
