package page

import (
	"bytes"
	"html/template"
	"net/http"
	"regexp"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/query"
)

// A document is what a page shows, in the order of its fields.
type document struct {
	Title string
	Name  string // of the template or project, which may be anything
	Nav   []link
	Bar   *bar // what chooses jobs; nil: nothing does

	Refusal *query.Refusal
	Welcome *welcome
	Nothing *nothing

	Link     string // of the answer that tiles and charts are of
	CSV      string
	Tiles    []tile
	Charts   []chart
	Findings *findingList
	Tables   []table
	AsOf     *moment
	Zone     string
}

// A link leads to another page.
type link struct {
	Text, To string
	Current  bool
	Count    int
}

// A moment is a time as people and machines read it.
type moment struct{ Text, Value string }

const (
	toMinute = "2 Jan 2006, 15:04"
	toDay    = "2 Jan 2006"
)

func momentOf(t time.Time) *moment { return &moment{t.Format(toMinute), t.Format(time.RFC3339)} }

// A welcome says what to do first, where there are no jobs yet.
type welcome struct {
	Script, Curl string
	Noted        int // problems with reports, which tell why there are none
}

// A nothing says what to do where no job is what was asked for.
type nothing struct {
	Text  string
	Links []link
}

// script is what the README has for jobs of any template.
const script = `default:
  after_script:
    - file=$CI_BUILDS_DIR/.metrics/metrics.json
    - mkdir -p "${file%/*}"
    - echo "{\"job_id\":\"$CI_JOB_ID\",\"status\":\"$CI_JOB_STATUS\"}" > "$file"`

// curl reports a job to the address behind it.
const curl = "curl -G -d status=success -d project=shop/web \\\n     -d name=dotnet_build -d duration=95 "

var plainHost = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)

func (d *document) welcome(r *http.Request, noted int) {
	scheme, host := "http://", r.Host
	if r.TLS != nil {
		scheme = "https://"
	}
	if !plainHost.MatchString(host) {
		host = "localhost:8080"
	}
	d.Bar, d.Title = nil, "Welcome"
	d.Welcome = &welcome{script, curl + scheme + host + "/steps", noted}
}

// frame is what all pages have around what they show.
func (v *request) frame() {
	d := &v.document
	d.Title = v.view.name
	for i := range views {
		if w := &views[i]; !w.hidden {
			l := link{Text: w.name, To: v.address.to(w.path).String(), Current: w == v.view}
			if w.path == problemsPath {
				l.Count = len(v.problems)
			}
			d.Nav = append(d.Nav, l)
		}
	}
}

// about notes which answer the page is, and what chooses its jobs.
func (v *request) about(a asked, m *kpi.Meta) {
	d := &v.document
	d.Link, d.Zone = a.link(), m.TimeZone
	if takes(a.part, "interval") {
		d.CSV = a.csv()
	}
	d.AsOf = momentOf(m.AsOf.Time)
	d.Bar = v.bar(m)
}

// nothing says what to do if no job is what was asked for. It is true if there is nothing
// else to show, for there was none in the period before either.
func (v *request) nothing(m *kpi.Meta, c *kpi.Compared) bool {
	if c.Current.Jobs > 0 {
		return false
	}
	n := &nothing{Text: "No job finished in this period."}
	f := &m.Filter
	filtered := len(f.Templates)+len(f.Projects)+len(f.Versions)+len(f.Statuses) > 0
	if filtered {
		n.Text = "No job that finished in this period is what the filters ask for."
		n.Links = append(n.Links, link{Text: "Take all filters away", To: v.address.without("template", "project", "version", "status").String()})
	}
	if length(m.Period) < 90*24*time.Hour {
		n.Links = append(n.Links, link{Text: "Look at the last 90 days", To: v.address.without("from", "to", "interval").with("last", "90d").String()})
	}
	v.document.Nothing = n
	return c.Previous.Jobs == 0
}

var layout = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"asset":  func(name string) string { return static().names[name] },
	"status": statusWord,
}).ParseFS(files, "templates/*.html"))

func (d *document) render() ([]byte, error) {
	var b bytes.Buffer
	err := layout.Execute(&b, d)
	return b.Bytes(), err
}

// statusWord is a status as people read it.
func statusWord(s job.Status) string {
	if s == job.TimedOut {
		return "timed out"
	}
	return string(s)
}
