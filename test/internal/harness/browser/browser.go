// Package browser opens pages of a receiver in a real Chromium. It reports errors, requests to
// other hosts, elements beyond the edges, and barriers that axe-core finds.
//
//	tab := browser.NewTab(t, receiver)
//	tab.SetView(t, 1280, "dark")
//	tab.Open(t, "/templates")
//	tab.CheckLayout(t, "the list of templates")
package browser

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	requests "github.com/chromedp/cdproto/network"
	tab "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"ci-jobs-metrics/test/internal/harness"
)

// A Tab is a tab of a real Chromium with the complaints that it has logged.
type Tab struct {
	ctx  context.Context
	host string // the only one that pages may send requests to

	mu         sync.Mutex
	complaints []string
	Expected   string // a text in complaints that are expected; set it before the page opens
}

// pageWatcher records in each page the labels that are drawn beyond the edge of their canvas.
const pageWatcher = `
window.clipped = [];
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
  const size = this.measureText(text);
  const box = [[x - size.actualBoundingBoxLeft, y - size.actualBoundingBoxAscent], [x + size.actualBoundingBoxRight, y + size.actualBoundingBoxDescent]]
    .map(([a, b]) => this.getTransform().transformPoint({ x: a, y: b }));
  if (this.canvas.isConnected && box.some((p) => p.x < -0.5 || p.y < -0.5 || p.x > this.canvas.width + 0.5 || p.y > this.canvas.height + 0.5)) {
    window.clipped.push(text + ' at ' + box.map((p) => Math.round(p.x) + ',' + Math.round(p.y)).join(' – ') + ' of ' + this.canvas.width + 'x' + this.canvas.height);
  }
  return fillText.call(this, text, x, y, ...rest);
};`

// chromium returns the one browser of a package of tests, which ends with their process. Each
// tab is in a browser context of its own, so tabs share no settings.
func chromium(t *testing.T) context.Context {
	browserOnce.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox)
		ctx, _ := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, _ = chromedp.NewContext(ctx)
		if err := chromedp.Run(ctx); err != nil {
			t.Fatal(err)
		}
		browserContext = ctx
	})
	if browserContext == nil {
		t.Fatal("Chromium did not start: see the test before")
	}
	return browserContext
}

// window opens a window of its own browser context, until the test ends.
func window(t *testing.T) target.ID {
	t.Helper()
	c := chromedp.FromContext(chromium(t))
	ctx := cdp.WithExecutor(browserContext, c.Browser)
	id, err := target.CreateBrowserContext().WithDisposeOnDetach(true).Do(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.DisposeBrowserContext(id).Do(ctx) })
	tab, err := target.CreateTarget("about:blank").WithBrowserContextID(id).WithNewWindow(true).Do(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

var (
	browserOnce    sync.Once
	browserContext context.Context
)

// Close ends the browser. TestMain of a package that opens tabs calls it.
func Close() {
	if browserContext != nil {
		_ = chromedp.Cancel(browserContext)
	}
}

// NewTab opens a tab for the pages of a receiver, until the test ends.
func NewTab(t *testing.T, receiver *harness.Receiver) *Tab {
	t.Helper()
	harness.NeedProgram(t, "chromium")
	b := &Tab{host: receiver.Address}
	ctx, cancel := chromedp.NewContext(chromium(t), chromedp.WithTargetID(window(t)))
	t.Cleanup(cancel)
	b.ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	chromedp.ListenTarget(b.ctx, b.listen)
	err := chromedp.Run(b.ctx, log.Enable(), runtime.Enable(), requests.Enable(), security.Enable(), tab.Enable(), // not b.run: it ends with its context
		chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := tab.AddScriptToEvaluateOnNewDocument(pageWatcher).Do(ctx)
			return err
		}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// listen records the events that no page should cause.
func (b *Tab) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.complain("exception: %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
	case *runtime.EventConsoleAPICalled:
		b.complain("console: %s %s", e.Type, e.Args[0].Value)
	case *log.EventEntryAdded: // also violations of the content security policy
		b.complain("log: %s %s", e.Entry.Text, e.Entry.URL)
	case *requests.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != b.host && u.Scheme != "data" {
			b.complain("outside: %s", e.Request.URL)
		}
	}
}

func (b *Tab) complain(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	complaint := fmt.Sprintf(format, args...)
	if b.Expected == "" || !strings.Contains(complaint, b.Expected) {
		b.complaints = append(b.complaints, complaint)
	}
}

// CheckComplaints fails the test with the complaints since the last call. where names the page
// in errors.
func (b *Tab) CheckComplaints(t *testing.T, where string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		t.Errorf("%s: %s", where, c)
	}
	b.complaints = nil
}

// Run runs actions, for a minute at most.
func (b *Tab) Run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// SetView sets the width of the window and the theme, light or dark.
func (b *Tab) SetView(t *testing.T, width int, theme string) {
	t.Helper()
	b.Run(t, emulation.SetDeviceMetricsOverride(int64(width), 900, 1, false),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}))
}

// Open opens a page and waits until its charts are drawn.
func (b *Tab) Open(t *testing.T, path string) {
	t.Helper()
	b.Run(t, chromedp.Navigate("http://"+b.host+path), chromedp.WaitReady(`html[data-ready]`))
}

// WaitFor waits until the condition, an expression in the page, is true and the charts are
// drawn. Use it after a click that opens another page.
func (b *Tab) WaitFor(t *testing.T, condition string) {
	t.Helper()
	if err := harness.Eventually(func() error { // between two pages the evaluation may fail
		var there bool
		err := chromedp.Run(b.ctx, chromedp.Evaluate(condition+` && 'ready' in document.documentElement.dataset`, &there))
		if err == nil && !there {
			err = fmt.Errorf("it never came to %s", condition)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// Click clicks at the position of an element, even if something covers it.
func (b *Tab) Click(t *testing.T, selector string) {
	t.Helper()
	at := Value[[]float64](t, b, fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({ block: 'center' });
		const r = e.getClientRects()[0]; return [r.x + Math.min(r.width / 2, 20), r.y + r.height / 2] })()`, selector))
	b.Run(t, chromedp.MouseClickXY(at[0], at[1]))
}

// Value returns the value of an expression in the page.
func Value[T any](t *testing.T, b *Tab, expression string) (v T) {
	t.Helper()
	b.Run(t, chromedp.Evaluate(expression, &v, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return v
}

// CheckLayout fails the test if an element or a label is beyond an edge, or for complaints.
func (b *Tab) CheckLayout(t *testing.T, where string) {
	t.Helper()
	if over := Value[int](t, b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
		t.Errorf("%s is %d pixels wider than the window", where, over)
	}
	for _, label := range Value[[]string](t, b, `window.clipped`) {
		t.Errorf("%s: a label is cut off: %s", where, label)
	}
	b.CheckComplaints(t, where)
}

// ScreenshotDir is the directory of screenshots for people, seen from a package of tests.
const ScreenshotDir = "../../bin/screenshots"

// Screenshot saves a screenshot of the whole page as NAME.png.
func (b *Tab) Screenshot(t *testing.T, name string) {
	t.Helper()
	var png []byte
	b.Run(t, chromedp.FullScreenshot(&png, 100))
	SaveScreenshot(t, name+".png", png)
}

// SaveScreenshot writes a file into ScreenshotDir.
func SaveScreenshot(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(ScreenshotDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(ScreenshotDir, name), content, 0o644); err != nil { //nolint:gosec // for people
		t.Fatal(err)
	}
}

// Axe returns the script of axe-core, for CheckAccessible. It needs npm.
func Axe(t *testing.T) string {
	t.Helper()
	harness.NeedProgram(t, "npm")
	path, err := exec.Command("../../scripts/axe").Output()
	if err != nil {
		harness.Missing(t, "axe-core can't be fetched: "+err.Error())
	}
	script, err := os.ReadFile(strings.TrimSpace(string(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

// CheckAccessible fails the test for each barrier that axe-core finds in the page.
func (b *Tab) CheckAccessible(t *testing.T, axe, where string) {
	t.Helper()
	b.Run(t, chromedp.Evaluate(axe, nil))
	for _, found := range Value[[]string](t, b, `axe.run({ resultTypes: ['violations'] }).then((r) => r.violations.flatMap((v) =>
		v.nodes.slice(0, 3).map((n) => v.id + ': ' + n.failureSummary.replace(/\s+/g, ' ') + ' ' + n.html.slice(0, 200))))`) {
		t.Errorf("%s: %s", where, found)
	}
}
