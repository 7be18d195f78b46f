// Command grafana writes the dashboards of this directory: `make dashboards`. Whoever uses them
// imports the JSON and needs no Go.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

const (
	overviewUID = "cijob-overview"
	templateUID = "cijob-template"
)

// classic is a dashboard in the schema that every Grafana imports: of the newer one, which the SDK
// prefers, only the latest know what to do.
type classic = dashboard.DashboardBuilder //nolint:staticcheck // see above

// Dashboards are all, by the names of their files.
func Dashboards() map[string]*classic {
	return map[string]*classic{
		"ci-templates-overview.json": overview(),
		"ci-templates-template.json": template(),
	}
}

// readable has > of queries and & of links as they are: encoding/json writes them for HTML, also where the
// SDK calls it.
var readable = strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">")

// Render is the JSON of a dashboard, always the same.
func Render(d *classic) ([]byte, error) {
	built, err := d.Build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(built, "", "  ")
	return []byte(readable.Replace(string(text)) + "\n"), err
}

// build is for what can't fail: the tests build all that there is.
func build[T any](b cog.Builder[T]) T {
	v, err := b.Build()
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	for name, d := range Dashboards() {
		text, err := Render(d)
		if err == nil {
			err = os.WriteFile(filepath.Join("dashboards", name), text, 0o644) //nolint:gosec // to be read by everybody
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
	}
}
