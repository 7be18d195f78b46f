package api_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/query"
)

func (s *service) items(t *testing.T, path string) (items []map[string]any, total string) {
	t.Helper()
	document := s.get(t, path)
	for _, item := range document["items"].([]any) {
		items = append(items, item.(map[string]any))
	}
	return items, fmt.Sprint(document["total"])
}

var tables = map[string][]string{"templates": kpi.TemplateColumns, "projects": kpi.ProjectColumns, "versions": kpi.VersionColumns,
	"failures": {""}, "problems": {"kind", "project", "template", "field", "reason", "value", "remedy", "sender", "count", "first", "last"}}

// Pages of any size have the whole table, each row once, in the order of the whole.
func TestPages(t *testing.T) {
	s := full(t)
	for question := range tables {
		all, total := s.items(t, query.Path+question+"?limit=1000")
		if total != fmt.Sprint(len(all)) || len(all) < 4 {
			t.Fatalf("%s: %s rows, of which %d are here", question, total, len(all))
		}
		if lines := s.csv(t, query.Path+question+"?format=csv"); len(lines) != len(all)+1 {
			t.Errorf("%s: CSV has %d lines for %d rows", question, len(lines), len(all))
		}
		size := max(2, len(all)/4)
		var paged []map[string]any
		for offset := 0; ; offset += size {
			page, of := s.items(t, fmt.Sprintf("%s%s?limit=%d&offset=%d", query.Path, question, size, offset))
			if of != total {
				t.Errorf("%s: the page at %d is of %s rows", question, offset, of)
			}
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
		}
		if got, want := fmt.Sprint(paged), fmt.Sprint(all); got != want {
			t.Errorf("%s: the pages are\n%s\nand all\n%s", question, got, want)
		}
	}
	if page, _ := s.items(t, "/api/v1/failures"); len(page) != 100 {
		t.Errorf("a page has %d rows", len(page))
	}
}

// Every column sorts, in both directions, and what has no value is last.
func TestSort(t *testing.T) {
	s := full(t)
	for question, columns := range tables {
		if question == "failures" {
			continue
		}
		for _, column := range columns {
			for _, sign := range []string{"", "-"} {
				items, _ := s.items(t, query.Path+question+"?limit=1000&sort="+sign+column)
				var values []any
				for _, item := range items {
					values = append(values, sorted(t, item, column))
				}
				if !slices.IsSortedFunc(values, func(a, b any) int { return compare(a, b, sign == "-") }) {
					t.Errorf("%s by %s%s: %v", question, sign, column, values)
				}
			}
		}
		first, _ := s.items(t, query.Path+question)
		chosen, _ := s.items(t, query.Path+question+"?sort=-"+map[bool]string{true: "last", false: "jobs"}[question == "problems"])
		if fmt.Sprint(first) != fmt.Sprint(chosen) {
			t.Errorf("%s: by default %v", question, first)
		}
	}
	newest, _ := s.items(t, "/api/v1/failures?limit=1000")
	if !slices.IsSortedFunc(newest, func(a, b map[string]any) int {
		return cmp.Compare(fmt.Sprint(b["finished"]), fmt.Sprint(a["finished"]))
	}) {
		t.Error("failures are not the last first")
	}
}

// sorted is what a row has in a column.
func sorted(t *testing.T, item map[string]any, column string) any {
	t.Helper()
	if v, ok := item[column]; ok {
		return v
	}
	name, change := strings.CutSuffix(column, "_change")
	switch name {
	case "mean", "p50", "p95":
		name = "durations " + name + "_seconds"
	}
	current := at(t, item, "current "+name)
	if !change {
		return current
	}
	previous := at(t, item, "previous "+name)
	if current == nil || previous == nil {
		return nil
	}
	return json.Number(fmt.Sprint(float(t, current) - float(t, previous)))
}

func float(t *testing.T, v any) float64 {
	t.Helper()
	f, err := v.(json.Number).Float64()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func compare(a, b any, descending bool) int {
	order := 0
	switch x := a.(type) {
	case nil:
		return map[bool]int{true: 0, false: 1}[b == nil]
	case string:
		order = strings.Compare(x, b.(string))
	case json.Number:
		if b == nil {
			return -1
		}
		f, _ := x.Float64()
		g, _ := b.(json.Number).Float64()
		order = cmp.Compare(f, g)
	}
	if descending {
		return -order
	}
	return order
}
