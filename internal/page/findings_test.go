package page_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"ci-jobs-metrics/internal/history"
)

// What the page says of findings is what the API says: as many, in its order, with its texts
// and costs; and each leads to a page that is there.
func TestFindingsAreTheAnswers(t *testing.T) {
	s := serve(t, nil)
	shape := history.Shape{Templates: 20, Projects: 100, Jobs: 25_000, Days: 90, End: now, Seed: 1, Planted: true}
	if err := shape.Fill(context.Background(), s.ledger.Record, nil); err != nil {
		t.Fatal(err)
	}
	answer := s.answer(t, "/api/v1/findings?last=30d").(map[string]any)["items"].([]any)
	var cards []*html.Node
	for _, n := range all(s.get(t, "/improve?last=30d"), "li", "class") {
		if class, _ := attr(n, "class"); class == "finding" {
			cards = append(cards, n)
		}
	}
	if len(cards) != len(answer) || len(cards) < 4 {
		t.Fatalf("%d cards for %d findings", len(cards), len(answer))
	}
	costs := 0
	for i, card := range cards {
		finding := answer[i].(map[string]any)
		for _, what := range []string{"template", "text", "look_at", "test"} {
			if want, ok := finding[what].(string); ok && !strings.Contains(text(card), want) {
				t.Errorf("finding %d: no %q in %q", i, want, text(card))
			}
		}
		cost := ""
		for _, n := range all(card, "data", "value") {
			cost, _ = attr(n, "value")
		}
		want := ""
		if hours := finding["cost_hours_per_month"]; hours != nil {
			want = fmt.Sprint(hours)
		}
		if cost != want {
			t.Errorf("finding %d costs %q, want %q", i, cost, want)
		}
		if cost != "" {
			costs++
		}
		link, _ := attr(all(card, "a", "href")[0], "href")
		if response, body := s.ask(t, "GET", link); response.StatusCode != 200 || strings.Contains(string(body), "No job finished") {
			t.Errorf("%s: %s", link, response.Status)
		}
	}
	if costs == 0 {
		t.Error("none of them costs anything")
	}
}
