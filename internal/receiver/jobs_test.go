package receiver_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/receiver"
)

// lead asks for a job and returns where it leads to, without going there.
func (r *running) lead(t *testing.T, method, query string) (response *http.Response, body string) {
	t.Helper()
	client := *r.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, body = ask(t, &client, method, r.url+"/jobs"+query, "", "")
	if response.Header.Get("Cache-Control") != "no-store" || response.Header.Get("X-Content-Type-Options") != "nosniff" ||
		response.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%s %s: %v", method, query, response.Header)
	}
	return response, body
}

func TestJobLeadsToItsPage(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	o := options(path, "127.0.0.1:0")
	o.Now = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	r := start(t, o)
	for link, target := range map[string]string{
		"https://gitlab.example/a/-/jobs/7":         "https://gitlab.example/a/-/jobs/7",
		"http://gitlab.example:8080/7?x=1&y=2#L3":   "http://gitlab.example:8080/7?x=1&y=2#L3",
		"HTTPS://gitlab.example/%7e/%2F":            "HTTPS://gitlab.example/%7e/%2F",
		"https://gitlab.example/ü b?q=ü b":          "https://gitlab.example/%C3%BC%20b?q=%C3%BC%20b",
		"https://ü.example/":                        "https://%C3%BC.example/",
		"https://x/\r\nSet-Cookie: a=b\u0085\u2028": "https://x/%20%20Set-Cookie:%20a=b",
		`https://x/"><script>alert(1)</script>`:     `https://x/"><script>alert(1)</script>`,
		"":                                          "",
		"javascript:alert(1)":                       "",
		"data:text/html,x":                          "",
		"//x/":                                      "",
		"/metrics":                                  "",
		"https:x":                                   "",
		`https:/\x/`:                                "",
		"https://x\\@y/":                            "",
		"ftp://x/":                                  "",
		"https://" + strings.Repeat("x", job.MaxText): "https://" + strings.Repeat("x", job.MaxText),
	} {
		id := "gitlab.example/7/n <b>&+% " + link
		if runes := []rune(id); len(runes) > job.MaxID {
			id = strings.TrimSpace(string(runes[:job.MaxID]))
		}
		sent := url.Values{"name": {"<b>n</b>"}, "project": {"group/ü"}, "status": {"failed"}, "id": {id}, "url": {link}}
		r.want(t, "/steps?"+sent.Encode(), 200, `"recorded":1`)
		asked := strings.Map(func(r rune) rune { // as it was recorded
			if strings.ContainsRune("\r\n\u0085", r) {
				return ' '
			}
			return r
		}, id)
		query := "?" + url.Values{"id": {asked}}.Encode()
		for _, method := range []string{"GET", "HEAD"} {
			response, body := r.lead(t, method, query)
			if target == "" {
				if response.StatusCode != 404 || response.Header.Get("Location") != "" {
					t.Errorf("%s %q: %s to %q", method, link, response.Status, response.Header.Get("Location"))
				}
				for _, known := range []string{"<b>n</b>", "group/ü", "failed", "2026-03-01T12:00:00Z", "url", "CI_JOB_URL"} {
					if method == "GET" && !strings.Contains(body, known) {
						t.Errorf("%q: no %q in: %s", link, known, body)
					}
				}
				continue
			}
			if response.StatusCode != 302 || response.Header.Get("Location") != target ||
				response.Header.Get("Referrer-Policy") != "no-referrer" || response.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s %q: %s, %v\nwant %s", method, link, response.Status, response.Header, target)
			}
		}
	}
}

func TestJobsThatLeadNowhere(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	r := start(t, options(path, "127.0.0.1:0")) // jobs are kept for a day
	r.want(t, "/steps?name=n&project=p&status=success&id=1&url=https://x/1", 200)
	r.want(t, "/steps?name=n&project=p&status=success&url=https://x/2", 200) // has no id
	for query, test := range map[string]struct {
		status int
		want   string
	}{
		"":                      {400, "no id"},
		"?":                     {400, "no id"},
		"?id=":                  {400, "no id"},
		"?id=%20%20":            {400, "no id"},
		"?ID=1":                 {400, "/jobs?id="},
		"?id=1&id=1":            {400, "2 ids"},
		"?id=1&id=2":            {400, "2 ids"},
		"?id=%zz":               {400, "can't be read"},
		"?id=1;x=<b>":           {400, "can't be read"},
		"?id=1&x=%":             {400, "can't be read"},
		"?id=2":                 {404, "kept for 1d"},
		"?id=<b>%0d%0aX:+y%00":  {404, "kept for 1d"},
		"?id=%ff":               {404, "kept for 1d"},
		"?id=%25":               {404, "kept for 1d"},
		"?id=1&x=2":             {302, "https://x/1"},
		"?id=+1%0a":             {302, "https://x/1"},
		"?id=" + longID("x", 0): {404, "kept for 1d"},
		"?id=" + longID("ü", 0): {404, "kept for 1d"},
		"?id=" + longID("x", 1): {400, "longer than 200"},
		"?id=" + longID("ü", 1): {400, "longer than 200"},
	} {
		response, body := r.lead(t, "GET", query)
		if response.StatusCode != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s: %s: %s", query, response.Status, body)
		}
		if test.status != 302 && response.Header.Get("Location") != "" {
			t.Errorf("%s leads to %s", query, response.Header.Get("Location"))
		}
	}
	if response, _ := ask(t, r.client, "POST", r.url+"/jobs?id=1", "", ""); response.StatusCode != 405 {
		t.Errorf("POST: %s", response.Status)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if response, body := r.lead(t, "GET", "?id=1"); response.StatusCode != 503 || !strings.Contains(body, "bring it back") {
		t.Errorf("without the ledger: %s: %s", response.Status, body)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if response, _ := r.lead(t, "GET", "?id=1"); response.StatusCode != 302 {
		t.Errorf("with the ledger: %s", response.Status)
	}
}

// longID is as long as an id may be, and some characters more.
func longID(character string, more int) string {
	return url.QueryEscape(strings.Repeat(character, job.MaxID+more))
}

// What no check let in leads nowhere either.
func TestLinksThatOthersWrote(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	store, err := sqlite.Open(t.Context(), path, time.Now(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	links := []string{"javascript:alert(1)", "https://x/\r\nSet-Cookie: a=b", "https://x/\x00", "\thttps://x/", "http://", "http://:80/", "/x"}
	for _, link := range links {
		if _, err := store.Append(t.Context(), []ledger.Entry{{Received: time.Now().UTC(), Job: job.Job{
			Name: "n", Project: "p", Status: job.Success, Finished: time.Now().UTC(), ID: url.QueryEscape(link), URL: link,
		}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	r := start(t, options(path, "127.0.0.1:0"))
	for _, link := range links {
		response, body := r.lead(t, "GET", "?id="+url.QueryEscape(url.QueryEscape(link)))
		if response.StatusCode != 404 || response.Header.Get("Location") != "" || !strings.Contains(body, "without a link") {
			t.Errorf("%q: %s, %v: %s", link, response.Status, response.Header, body)
		}
	}
}

// Whatever ids and links are sent and asked for: no panic, and a redirect is to a whole
// http or https address that fits a header.
func FuzzJobs(f *testing.F) {
	r, err := receiver.New(context.Background(), options(f.TempDir()+"/ledger.db", "127.0.0.1:0"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := r.Stop(context.Background()); err != nil {
			f.Error(err)
		}
	})
	handler := receiver.Handler(r)
	f.Add("1", "https://x/", "id=1")
	f.Add("a&b", "https://x/\r\nX: y", "id=a&b")
	f.Add("ü", "javascript:alert(1)", "id=%C3%BC;")
	f.Add("%", "https://ü/\u0085?a b#\\", "id=%&id=")
	f.Fuzz(func(t *testing.T, id, link, query string) {
		serve := func(path, query string) *httptest.ResponseRecorder {
			request := httptest.NewRequest(http.MethodGet, path, nil)
			request.URL.RawQuery = query
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, request)
			return w
		}
		report := url.Values{"name": {"n"}, "project": {"p"}, "status": {"success"}, "id": {id}, "url": {link}}
		serve("/steps", report.Encode())
		for _, asked := range []string{url.Values{"id": {id}}.Encode(), query} {
			w := serve("/jobs", asked)
			switch w.Code {
			case http.StatusBadRequest, http.StatusNotFound:
				if target, ok := w.Header()["Location"]; ok {
					t.Fatalf("%d leads to %q", w.Code, target)
				}
			case http.StatusFound:
				target := w.Header().Get("Location")
				u, err := url.Parse(target)
				if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
					t.Fatalf("it leads to %q (%v)", target, err)
				}
				for _, c := range []byte(target) {
					if c <= ' ' || c > '~' {
						t.Fatalf("it leads to %q", target)
					}
				}
			default:
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
		}
	})
}
