// Package page_test opens the pages of a receiver in a real Chromium.
package page_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/totals"
	"ci-jobs-metrics/test/internal/harness"
	"ci-jobs-metrics/test/internal/harness/browser"
)

// withHistory returns a running receiver on a ledger with the jobs that fill records.
func withHistory(t *testing.T, fill func(record func([]ledger.Entry) ([]ledger.Outcome, error)) error) *harness.Receiver {
	t.Helper()
	receiver := harness.NewReceiver(t)
	fillLedger(t, receiver.Ledger, fill)
	receiver.Start(t)
	return receiver
}

func fillLedger(t *testing.T, path string, fill func(record func([]ledger.Entry) ([]ledger.Outcome, error)) error) {
	t.Helper()
	ctx := context.Background()
	store, err := sqlite.Open(ctx, path, time.Now(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(ctx, store, ledger.Options{Totals: totals.Settings{Bounds: []float64{60, 120, 300, 600, 900, 1200}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(l.Record); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

var (
	demoOnce   sync.Once
	demoLedger string // a directory; TestMain removes it
)

func TestMain(m *testing.M) {
	code := m.Run()
	browser.Close()
	_ = os.RemoveAll(demoLedger)
	os.Exit(code)
}

// withDemo returns a running receiver on its own copy of the ledger of make demo: three months
// of a made-up company.
func withDemo(t *testing.T) *harness.Receiver {
	t.Helper()
	demoOnce.Do(func() {
		dir, err := os.MkdirTemp("", "demo")
		if err != nil {
			t.Fatal(err)
		}
		demoLedger = dir
		fillLedger(t, filepath.Join(dir, "ledger.db"), func(record func([]ledger.Entry) ([]ledger.Outcome, error)) error {
			return history.Demo(time.Now()).Fill(context.Background(), record, nil)
		})
	})
	receiver := harness.NewReceiver(t)
	if err := os.CopyFS(filepath.Dir(receiver.Ledger), os.DirFS(demoLedger)); err != nil {
		t.Fatal(err)
	}
	receiver.Start(t)
	return receiver
}

// misreport sends what the page of problems is for.
func misreport(t *testing.T, receiver *harness.Receiver) {
	t.Helper()
	for _, query := range []string{"name=npm_test&project=CI_PROJECT_PATH&status=failed", "name=npm_test&project=shop/web&status=what&duration=-4"} {
		response, err := http.Get(receiver.URL("/steps?" + query))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
}

// looks are all pages, by the name of their screenshots.
var looks = []struct{ name, path string }{
	{"overview", "/"},
	{"overview-day", "/?last=24h"},
	{"overview-quarter", "/?last=90d"},
	{"overview-filtered", "/?template=*_test&status=failed&status=timedout"},
	{"nothing", "/?template=nobody"},
	{"template", "/template?name=dotnet_test"},
	{"template-quarter", "/template?name=docker_build&last=90d"},
	{"project", "/project?name=search/returns-sync"},
	{"templates", "/templates"},
	{"projects", "/projects?limit=30"},
	{"problems", "/problems"},
	{"improve", "/improve"},
	{"refused", "/?last=soon"},
}

// TestPages opens every page in both themes, as wide as a telephone, a laptop and a wall. There
// are no complaints, nothing is cut off, and axe-core finds no barrier.
func TestPages(t *testing.T) {
	t.Parallel()
	receiver := withDemo(t)
	misreport(t, receiver)
	barriers := browser.Axe(t)
	t.Run("views", func(t *testing.T) {
		for _, width := range []int{360, 1280, 3840} {
			for _, theme := range []string{"light", "dark"} {
				t.Run(fmt.Sprintf("%d-%s", width, theme), func(t *testing.T) {
					t.Parallel()
					b := browser.NewTab(t, receiver)
					b.Expected = "400 (Bad Request)"
					b.SetView(t, width, theme)
					for _, look := range looks {
						where := fmt.Sprintf("%s-%d-%s", look.name, width, theme)
						b.Open(t, look.path)
						b.CheckLayout(t, where)
						screenshot(t, b, where)
						if width < 3840 {
							b.CheckAccessible(t, barriers, where)
						}
					}
				})
			}
		}
	})
	if *screenshots {
		contactSheet(t, browser.NewTab(t, receiver))
	}
}

var screenshots = flag.Bool("screenshots", false, "save screenshots of all pages in bin/screenshots (make contact-sheet)")

func screenshot(t *testing.T, b *browser.Tab, name string) {
	t.Helper()
	if *screenshots {
		b.Screenshot(t, name)
	}
}

// contactSheet saves one picture with all screenshots.
func contactSheet(t *testing.T, b *browser.Tab) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(browser.ScreenshotDir, "*-*-*.png"))
	if err != nil {
		t.Fatal(err)
	}
	var sheet strings.Builder
	sheet.WriteString(`<!DOCTYPE html><style>body{font:12px sans-serif;columns:12;background:#888}figure{margin:0 0 8px;break-inside:avoid}img{width:100%}</style>`)
	for _, path := range paths {
		fmt.Fprintf(&sheet, `<figure><figcaption>%[1]s</figcaption><img src="%[1]s"></figure>`, filepath.Base(path))
	}
	browser.SaveScreenshot(t, "contact-sheet.html", []byte(sheet.String()))
	place, err := filepath.Abs(filepath.Join(browser.ScreenshotDir, "contact-sheet.html"))
	if err != nil {
		t.Fatal(err)
	}
	b.Expected = "outside" // it is a file
	b.SetView(t, 3600, "light")
	var png []byte
	b.Run(t, chromedp.Navigate("file://"+place), chromedp.FullScreenshot(&png, 100))
	browser.SaveScreenshot(t, "contact-sheet.png", png)
}

// Without a job the page says what to do, and fills by itself when that is done.
func TestPageFills(t *testing.T) {
	t.Parallel()
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	b := browser.NewTab(t, receiver)
	b.SetView(t, 1280, "light")
	b.Open(t, "/")
	b.CheckLayout(t, "empty")
	screenshot(t, b, "empty-1280-light")
	b.CheckAccessible(t, browser.Axe(t), "empty")
	b.Click(t, `[data-copy]`)
	b.WaitFor(t, `/Copied|Selected/.test(document.querySelector('[data-copy]').textContent)`)
	if _, err := harness.Fetch(receiver.URL("/steps?name=dotnet_build&project=shop/web&status=success&duration=95")); err != nil {
		t.Fatal(err)
	}
	b.WaitFor(t, `document.querySelector('.tile data')?.value === '1'`)
	b.CheckLayout(t, "filled")
	screenshot(t, b, "filled-1280-light")
}

// A visit: look for a template, sort, go into it, look at a chart, and come back.
func TestPageVisit(t *testing.T) {
	t.Parallel()
	receiver := withDemo(t)
	b := browser.NewTab(t, receiver)
	b.SetView(t, 1280, "light")
	b.Open(t, "/?last=90d")

	b.Run(t, chromedp.SendKeys(`input[name="find.template"]`, "helm"+kb.Enter))
	b.WaitFor(t, `location.search.includes('template=%2Ahelm%2A')`)
	if rows := browser.Value[int](t, b, `document.querySelectorAll('#templates tbody tr').length`); rows != 3 {
		t.Errorf("%d templates are called helm", rows)
	}
	b.Click(t, `.chip`)
	b.WaitFor(t, `!location.search.includes('template')`)

	b.Click(t, `#templates th:nth-child(4) a`)
	b.WaitFor(t, `location.search.includes('sort=-success_rate')`)
	sorted := browser.Value[bool](t, b, `(() => { const n = [...document.querySelectorAll('#templates tbody tr td:nth-child(4) > data')].map((d) => Number(d.value));
		return n.length > 5 && n.every((v, i) => i === 0 || v <= n[i - 1]) })()`)
	if !sorted {
		t.Error("it is not sorted by success rate")
	}
	name := browser.Value[string](t, b, `document.querySelector('#templates tbody a').textContent`)
	b.Click(t, `#templates tbody a`)
	b.WaitFor(t, `location.pathname === '/template'`)
	if got := browser.Value[string](t, b, `document.querySelector('h1 bdi').textContent + location.search`); got != name+"?last=90d&name="+name {
		t.Errorf("%s leads to %s", name, got)
	}
	b.Run(t, chromedp.Evaluate(`history.back()`, nil))
	b.WaitFor(t, `location.pathname === '/'`)
	if got := browser.Value[string](t, b, `location.search`); got != "?last=90d&sort=-success_rate" {
		t.Errorf("back at %s", got)
	}
	b.CheckLayout(t, "visit")
}

// Charts tell their numbers to the pointer and to the keyboard, and lead to a part of the period.
func TestPageCharts(t *testing.T) {
	t.Parallel()
	receiver := withDemo(t)
	b := browser.NewTab(t, receiver)
	b.SetView(t, 1280, "light")
	b.Open(t, "/template?name=dotnet_test")
	for _, id := range []string{"stack", "band", "heat", "distribution"} {
		b.Run(t, chromedp.ScrollIntoView(`#`+id))
		box := browser.Value[[]float64](t, b, `(() => { const r = document.querySelector('#`+id+` .u-over').getBoundingClientRect(); return [r.x, r.y, r.width, r.height] })()`)
		b.Run(t, chromedp.MouseEvent(input.MouseMoved, box[0]+box[2]/2, box[1]+box[3]/2))
		b.WaitFor(t, `/\d/.test(document.querySelector('#`+id+` [data-point]').textContent)`)
	}
	b.Run(t, chromedp.Focus(`#stack .plot`), chromedp.KeyEvent(kb.End), chromedp.KeyEvent(kb.ArrowLeft))
	said := browser.Value[string](t, b, `document.querySelector('[data-status]').textContent`)
	row := browser.Value[string](t, b, `(() => { const r = [...document.querySelectorAll('#stack tbody tr')].at(-2); return r.cells[0].textContent + ': ' + r.cells[1].textContent + ' jobs, failed ' + r.cells[2].textContent })()`)
	if !strings.HasPrefix(said, row) {
		t.Errorf("the keyboard is told %q, and the table has %q", said, row)
	}
	b.Run(t, chromedp.ScrollIntoView(`#stack`))
	box := browser.Value[[]float64](t, b, `(() => { const r = document.querySelector('#stack .u-over').getBoundingClientRect(); return [r.x, r.y, r.width, r.height] })()`)
	drag(t, b, box[0]+box[2]*0.3, box[0]+box[2]*0.6, box[1]+box[3]/2)
	b.WaitFor(t, `location.search.includes('from=')`)
	if got := browser.Value[string](t, b, `document.querySelector('h1 bdi').textContent`); got != "dotnet_test" {
		t.Errorf("a part of the period of %s", got)
	}
	if days := browser.Value[int](t, b, `JSON.parse(document.querySelector('#stack script').textContent).labels.length`); days < 8 || days > 12 {
		t.Errorf("a third of a month has %d days", days)
	}
	b.CheckLayout(t, "charts")
}

func drag(t *testing.T, b *browser.Tab, from, to, y float64) {
	t.Helper()
	b.Run(t, chromedp.MouseEvent(input.MouseMoved, from, y), chromedp.MouseEvent(input.MousePressed, from, y, chromedp.ButtonLeft),
		chromedp.MouseEvent(input.MouseMoved, (from+to)/2, y, chromedp.ButtonLeft), chromedp.MouseEvent(input.MouseMoved, to, y, chromedp.ButtonLeft),
		chromedp.MouseEvent(input.MouseReleased, to, y, chromedp.ButtonLeft))
}

// The theme is remembered, and charts are drawn anew in it; reloading leaves readers where
// they are.
func TestPageSettings(t *testing.T) {
	t.Parallel()
	receiver := withDemo(t)
	b := browser.NewTab(t, receiver)
	b.SetView(t, 1280, "light")
	b.Open(t, "/")
	drawn := func() string { return browser.Value[string](t, b, `document.querySelector('canvas').toDataURL()`) }
	ground := func() string { return browser.Value[string](t, b, `getComputedStyle(document.body).backgroundColor`) }
	light, white := drawn(), ground()
	choose(t, b, "[data-theme-choice]", "dark")
	if drawn() == light || ground() == white {
		t.Error("the dark theme is as the light one")
	}
	dark, black := drawn(), ground()
	b.Open(t, "/")
	if drawn() != dark || ground() != black {
		t.Error("the dark theme is not remembered")
	}
	choose(t, b, "[data-theme-choice]", "light")
	b.SetView(t, 1280, "dark")
	if drawn() != light || ground() != white {
		t.Error("the light theme that was chosen is not the one of a light system")
	}

	b.Run(t, chromedp.Evaluate(`scrollTo(0, 700); document.querySelector('#stack details').open = true; window.kept = true`, nil))
	before := browser.Value[int](t, b, `scrollY`)
	if _, err := harness.Fetch(receiver.URL("/steps?name=docker_build&project=shop/web&status=success&duration=95")); err != nil {
		t.Fatal(err)
	}
	jobs := browser.Value[string](t, b, `document.querySelector('.tile data').value`)
	b.Run(t, chromedp.Evaluate(`for (const o of document.querySelector('[data-refresh]').options) if (o.value === '60') o.value = '0.2'`, nil))
	choose(t, b, "[data-refresh]", "0.2")
	b.WaitFor(t, `document.querySelector('.tile data').value !== '`+jobs+`'`)
	if got := browser.Value[string](t, b, `[scrollY, document.querySelector('#stack details').open, window.kept, document.querySelectorAll('canvas').length].join()`); got != fmt.Sprintf("%d,true,true,2", before) {
		t.Errorf("after reloading: %s, before %d", got, before)
	}
	b.CheckLayout(t, "settings")
}

func choose(t *testing.T, b *browser.Tab, selector, value string) {
	t.Helper()
	b.Run(t, chromedp.Evaluate(fmt.Sprintf(`(() => { const s = document.querySelector(%q); s.value = %q; s.dispatchEvent(new Event('change')) })()`, selector, value), nil))
}

// hostileNames names are whatever senders may send.
var hostileNames = []string{
	`<script>alert("x")</script>`, `"><img src=x onerror=alert(1)>`, "\u202egnp.exe", "مشروع/בדיקה", `</script><script>alert(1)</script>`,
	strings.Repeat("W", 255), strings.Repeat("long-", 50), `{{.}}`, "javascript:alert(1)", "a&b=c#d?e%20", "ünï \\*?", "👩‍👩‍👧‍👦 日本語のテンプレート",
}

// Ten thousand templates, some of them with names that mean harm, are a table as any other.
func TestPageOfManyTemplates(t *testing.T) {
	t.Parallel()
	receiver := withHistory(t, func(record func([]ledger.Entry) ([]ledger.Outcome, error)) error {
		now := time.Now()
		for batch := range 10 {
			var entries []ledger.Entry
			for i := range 1000 {
				j := job.Job{Name: fmt.Sprintf("template_%05d", batch*1000+i), Project: "shop/web", Status: job.Success, Finished: job.Instant(now.Add(-time.Hour))}
				if batch == 0 && i < 5*len(hostileNames) {
					j = job.Job{Name: hostileNames[i%len(hostileNames)], Project: hostileNames[(i+1)%len(hostileNames)], Version: hostileNames[(i+2)%len(hostileNames)], Job: hostileNames[i%len(hostileNames)],
						Ref: hostileNames[i%len(hostileNames)], Status: job.Failed, Finished: j.Finished, Timed: true, Duration: time.Minute, ID: fmt.Sprint(i), URL: "https://gitlab.example/1"}
				}
				entries = append(entries, ledger.Entry{Received: job.Instant(now), Job: j})
			}
			if _, err := record(entries); err != nil {
				return err
			}
		}
		return nil
	})
	b := browser.NewTab(t, receiver)
	for _, width := range []int{360, 1280} {
		b.SetView(t, width, "dark")
		for i, path := range []string{"/", "/templates?limit=1000", "/?offset=9950"} {
			b.Open(t, path)
			where := fmt.Sprintf("many%d-%d-dark", i, width)
			b.CheckLayout(t, where)
			screenshot(t, b, where)
		}
		for i, name := range hostileNames {
			for _, kind := range []string{"template", "project"} {
				b.Open(t, "/"+kind+"?name="+url.QueryEscape(name))
				where := fmt.Sprintf("hostile%02d%s-%d-dark", i, kind, width)
				if got := browser.Value[string](t, b, `document.querySelector('h1 bdi').textContent`); got != name {
					t.Errorf("%q is shown as %q", name, got)
				}
				b.CheckLayout(t, where)
				if i == 0 || i == 5 {
					screenshot(t, b, where)
				}
			}
		}
	}
}
