package test

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

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	requests "github.com/chromedp/cdproto/network"
	tab "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
)

// A browser is a tab of a real Chromium, and what it complains of.
type browser struct {
	ctx  context.Context
	host string // the only one that pages may ask

	mu         sync.Mutex
	complaints []string
	expected   string // a part of complaints that are meant to come
}

// pageWatcher looks in pages for what people would see: labels that are drawn beyond the edge
// of their canvas.
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

// newBrowser opens a tab for the pages of a service.
func newBrowser(t *testing.T, s *service) *browser {
	t.Helper()
	need(t, "chromium")
	b := &browser{host: s.address}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
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

// listen takes down what no page should cause.
func (b *browser) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.complain("exception: %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
	case *runtime.EventConsoleAPICalled:
		b.complain("console: %s %s", e.Type, e.Args[0].Value)
	case *log.EventEntryAdded: // what breaks the policy is among them
		b.complain("log: %s %s", e.Entry.Text, e.Entry.URL)
	case *requests.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != b.host && u.Scheme != "data" {
			b.complain("outside: %s", e.Request.URL)
		}
	}
}

func (b *browser) complain(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	complaint := fmt.Sprintf(format, args...)
	if b.expected == "" || !strings.Contains(complaint, b.expected) {
		b.complaints = append(b.complaints, complaint)
	}
}

// satisfied fails the test with what the browser complained of since the last time.
func (b *browser) satisfied(t *testing.T, where string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		t.Errorf("%s: %s", where, c)
	}
	b.complaints = nil
}

func (b *browser) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// show makes the window as wide and the theme what is asked for.
func (b *browser) show(t *testing.T, width int, theme string) {
	t.Helper()
	b.run(t, emulation.SetDeviceMetricsOverride(int64(width), 900, 1, false),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}))
}

// open goes to a page and waits until its charts are drawn.
func (b *browser) open(t *testing.T, path string) {
	t.Helper()
	b.run(t, chromedp.Navigate("http://"+b.host+path), chromedp.WaitReady(`html[data-ready]`))
}

// ready waits for a page that a click led to.
func (b *browser) ready(t *testing.T, condition string) {
	t.Helper()
	if err := eventually(func() error { // until the other page is there, there may be none to ask
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

// click clicks where an element is, whatever may be before it.
func (b *browser) click(t *testing.T, selector string) {
	t.Helper()
	at := value[[]float64](t, b, fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({ block: 'center' });
		const r = e.getClientRects()[0]; return [r.x + Math.min(r.width / 2, 20), r.y + r.height / 2] })()`, selector))
	b.run(t, chromedp.MouseClickXY(at[0], at[1]))
}

// value is what an expression is in the page.
func value[T any](t *testing.T, b *browser, expression string) (v T) {
	t.Helper()
	b.run(t, chromedp.Evaluate(expression, &v, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return v
}

// sound fails the test if something of the page is beyond its edges.
func (b *browser) sound(t *testing.T, where string) {
	t.Helper()
	if over := value[int](t, b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
		t.Errorf("%s is %d pixels wider than the window", where, over)
	}
	for _, label := range value[[]string](t, b, `window.clipped`) {
		t.Errorf("%s: a label is cut off: %s", where, label)
	}
	b.satisfied(t, where)
}

// shots is where screenshots are left, to be looked at.
const shots = "../bin/screenshots"

// shoot keeps a screenshot of the whole page.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	var png []byte
	b.run(t, chromedp.FullScreenshot(&png, 100))
	keep(t, name+".png", png)
}

func keep(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(shots, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shots, name), content, 0o644); err != nil { //nolint:gosec // to be looked at
		t.Fatal(err)
	}
}

// axe is the script of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	need(t, "npm")
	path, err := exec.Command("../scripts/axe").Output()
	if err != nil {
		missing(t, "axe-core can't be fetched: "+err.Error())
	}
	script, err := os.ReadFile(strings.TrimSpace(string(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

// barriers are what axe-core finds in the page, of which there should be none.
func (b *browser) barriers(t *testing.T, axe, where string) {
	t.Helper()
	b.run(t, chromedp.Evaluate(axe, nil))
	for _, found := range value[[]string](t, b, `axe.run().then((r) => r.violations.flatMap((v) =>
		v.nodes.slice(0, 3).map((n) => v.id + ': ' + n.failureSummary.replace(/\s+/g, ' ') + ' ' + n.html.slice(0, 200))))`) {
		t.Errorf("%s: %s", where, found)
	}
}
