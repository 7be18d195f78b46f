package problems_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/problems"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// problem is one that was seen so many seconds after the start.
func problem(project string, second int) problems.Problem {
	at := start.Add(time.Duration(second) * time.Second)
	return problems.Problem{
		Key:      problems.Key{Kind: problems.Rejected, Project: project, Field: "name", Reason: job.Missing},
		Template: "t" + fmt.Sprint(second), Remedy: "send it", Value: "v" + fmt.Sprint(second), Sender: "10.0.0.1",
		Count: 1, First: at, Last: at,
	}
}

func note(b *problems.Book, all ...problems.Problem) { b.Note(all) }

func equal(t *testing.T, what string, got, want []problems.Problem) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// twice is p as it is when it was seen once before.
func twice(p, before problems.Problem) problems.Problem {
	p.Count, p.First = 2, before.First
	return p
}

func TestBook(t *testing.T) {
	var b problems.Book
	equal(t, "empty", b.Changes(), nil)
	note(&b, problem("a", 1), problem("b", 2), problem("a", 3))
	want := []problems.Problem{twice(problem("a", 3), problem("a", 1)), problem("b", 2)}
	equal(t, "waiting", b.Waiting(), want)
	equal(t, "changes", b.Changes(), want)
	equal(t, "taken", b.Waiting(), nil)
	equal(t, "taken", b.Changes(), nil)
	note(&b, problem("a", 4))
	equal(t, "since then", b.Changes(), []problems.Problem{problem("a", 4)})
}

// Each part of the key tells problems apart, and nothing else does.
func TestAlike(t *testing.T) {
	differs := func(f func(*problems.Problem)) problems.Problem {
		p := problem("a", 1)
		f(&p)
		return p
	}
	var b problems.Book
	note(&b, problem("a", 1),
		differs(func(p *problems.Problem) { p.Kind = problems.Warned }),
		differs(func(p *problems.Problem) { p.Project = "" }),
		differs(func(p *problems.Problem) { p.Field = "status" }),
		differs(func(p *problems.Problem) { p.Reason = job.TooLong }))
	if n := b.Len(); n != 5 {
		t.Errorf("%d problems, want 5", n)
	}
	note(&b, differs(func(p *problems.Problem) {
		p.Project = " a\n"
		p.Template, p.Remedy, p.Value, p.Sender = "x", "x", "x", "x"
	}))
	if got := b.Changes(); len(got) != 5 || got[0].Count != 2 || got[0].Value != "x" {
		t.Errorf("%+v", got)
	}
}

// The clock may go back: the details stay those of the latest moment.
func TestAdd(t *testing.T) {
	p, earlier := problem("a", 2), problem("a", 1)
	p.Add(&earlier)
	equal(t, "an earlier one", []problems.Problem{p}, []problems.Problem{twice(problem("a", 2), problem("a", 1))})
	same := problem("a", 2)
	same.Value = "other"
	p.Add(&same)
	if p.Count != 3 || p.Value != "other" || !p.First.Equal(earlier.First) {
		t.Errorf("one of the same moment: %+v", p)
	}
}

// What could not be stored is there again, together with what came meanwhile.
func TestUnsaved(t *testing.T) {
	var b problems.Book
	note(&b, problem("a", 1), problem("b", 2))
	failed := b.Changes()
	note(&b, problem("c", 3), problem("a", 4))
	b.Unsaved(failed)
	equal(t, "changes", b.Changes(), []problems.Problem{
		twice(problem("a", 4), problem("a", 1)), problem("c", 3), problem("b", 2),
	})
}

// projects are so many problems, of projects of their own, a second apart.
func projects(from, n int) (all []problems.Problem) {
	for i := from; i < from+n; i++ {
		all = append(all, problem(fmt.Sprint("p", i), i))
	}
	return all
}

// newestFirst is what a book that has room for them makes of them.
func newestFirst(all []problems.Problem) []problems.Problem {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

// Those not seen for longest make room, also where saving fails again and again.
func TestBound(t *testing.T) {
	var b problems.Book
	b.Note(projects(0, problems.MaxKept))
	note(&b, problem("p0", 5000)) // seen again, so that p1 is the oldest
	b.Note(projects(problems.MaxKept, 1))
	got := b.Waiting()
	if len(got) != problems.MaxKept || got[0].Project != "p1000" || got[1].Project != "p0" || got[1].Count != 2 ||
		got[len(got)-1].Project != "p2" {
		t.Errorf("%d are kept, from %v, %v to %v", len(got), got[0], got[1], got[len(got)-1])
	}
	note(&b, problem("p1", 6000)) // it comes back, as a new one
	if got = b.Waiting(); len(got) != problems.MaxKept || got[0].Project != "p1" || got[0].Count != 1 {
		t.Errorf("%d are kept, from %v", len(got), got[0])
	}

	b = problems.Book{}
	for round := range 5 {
		b.Unsaved(b.Changes())
		b.Note(projects(round*1000, 1000))
	}
	equal(t, "after a flood", b.Waiting(), newestFirst(projects(4000, 1000)))
	failed := b.Changes()
	b.Note(projects(5000, 400))
	b.Unsaved(failed)
	equal(t, "beside what came meanwhile", b.Waiting(), newestFirst(projects(4400, 1000)))
	if b.Unsaved(failed); len(b.Changes()) != problems.MaxKept {
		t.Error("more are kept than there is room for")
	}
}

func TestMerge(t *testing.T) {
	stored := []problems.Problem{problem("a", 5), problem("b", 3), problem("c", 1)}
	waiting := []problems.Problem{problem("b", 7), problem("d", 5), problem("c", 0)}
	equal(t, "merged", problems.Merge(stored, waiting), []problems.Problem{
		twice(problem("b", 7), problem("b", 3)), problem("a", 5), problem("d", 5), twice(problem("c", 1), problem("c", 0)),
	})
	equal(t, "bounded", problems.Merge(projects(0, 1000), projects(500, 900))[:900], merged(projects(500, 900), projects(500, 500)))
	if n := len(problems.Merge(projects(0, 1000), projects(1000, 1000))); n != problems.MaxKept {
		t.Errorf("%d problems, want %d", n, problems.MaxKept)
	}
}

// merged is all, of which again were counted twice, newest first.
func merged(all, again []problems.Problem) []problems.Problem {
	for i := range again {
		all[i].Count++
	}
	return newestFirst(all)
}

// All that senders write stays within its limits, is text, and is otherwise as it came.
func TestTexts(t *testing.T) {
	for sent, want := range map[string]string{
		"group/app":                        "group/app",
		"":                                 "",
		"$CI_PROJECT_PATH":                 "$CI_PROJECT_PATH",
		"<script>alert(1)</script>":        "<script>alert(1)</script>",
		"a\x00b\x1b[31m\r\nc":              "a b [31m  c",
		"\xff\xfe":                         "\uFFFD",
		"p\xff":                            "p\uFFFD",
		strings.Repeat("é", job.MaxText):   strings.Repeat("é", job.MaxText),
		strings.Repeat("é", job.MaxText+1): strings.Repeat("é", job.MaxText-1) + "…",
		strings.Repeat("😀", 1<<20):         strings.Repeat("😀", job.MaxText-1) + "…",
	} {
		var b problems.Book
		p := problem(sent, 1)
		p.Template, p.Value, p.Remedy, p.Sender = sent+" 1/5", sent, sent, sent
		note(&b, p)
		got := b.Changes()[0]
		if got.Project != want {
			t.Errorf("%.20q is %q, want %q", sent, got.Project, want)
		}
		for text, limit := range map[string]int{got.Template: 255, got.Value: 100, got.Remedy: 500, got.Sender: 100} {
			if n := utf8.RuneCountInString(text); n > limit || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%.20q: a text of %d characters, at most %d: %.20q", sent, n, limit, text)
			}
		}
		if sent == "group/app" && (got.Template != sent || got.Value != sent || got.Remedy != sent || got.Sender != sent) {
			t.Errorf("%+v", got)
		}
	}
}

// What a large request is remembered by does not keep all of it in memory.
func TestMemory(t *testing.T) {
	var b problems.Book
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for i := range 200 {
		body := strings.Repeat("x", 1<<20)
		p := problem(fmt.Sprint("p", i), i)
		p.Value, p.Template, p.Remedy, p.Sender = body[:10], body[:11], body[:12], body[:13]
		note(&b, p)
		p.Project = body[:100+i%50]
		note(&b, p)
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("it takes %d bytes", grown)
	}
	runtime.KeepAlive(&b)
}

func TestTogether(t *testing.T) {
	const noters, notes = 8, 500
	var b problems.Book
	var running sync.WaitGroup
	for range noters {
		running.Go(func() {
			for i := range notes {
				note(&b, problem(fmt.Sprint("p", i%10), 1))
				if i%50 == 0 {
					b.Waiting()
					b.Unsaved(b.Changes())
				}
			}
		})
	}
	running.Wait()
	sum := int64(0)
	for _, p := range b.Changes() {
		sum += p.Count
	}
	if sum != noters*notes {
		t.Errorf("%d were counted, want %d", sum, noters*notes)
	}
}
