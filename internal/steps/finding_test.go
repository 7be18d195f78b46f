package steps_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/steps"
)

// checkFound fails unless what was told in detail is what was counted.
func (d *door) checkFound(t *testing.T) {
	t.Helper()
	want, got := steps.Tally{}, steps.Tally{Warned: map[job.Reason]int{}, Rejected: map[job.Reason]int{}}
	if len(d.observed) > 0 {
		want = d.observed[0]
	}
	for _, f := range d.found {
		if f.Rejected {
			got.Rejected[f.Reason] += f.Count
		} else {
			got.Warned[f.Reason] += f.Count
		}
		if f.Count < 1 || f.Remedy == "" {
			t.Errorf("told: %+v", f)
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("told (-counted +told):\n%s", diff)
	}
}

// brief is each finding in a line, sorted.
func (d *door) brief() string {
	var lines []string
	for _, f := range d.found {
		kind := "warned"
		if f.Rejected {
			kind = "rejected"
		}
		lines = append(lines, fmt.Sprintf("%d %s %q %s %s %q %q", f.Count, kind, f.Project, f.Field, f.Reason, f.Name, f.Value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Everything that is wrong is told once, with whose it is, and those alike together.
func TestFindings(t *testing.T) {
	good := `{"name":"n","project":"p","status":"success"}`
	for name, test := range map[string]struct {
		request *http.Request
		want    string
	}{
		"good":      {get("name=n&project=p&status=success"), ""},
		"all good":  {post(jsonType, "["+good+","+good+"]"), ""},
		"no job":    {post(jsonType, "[]"), ""},
		"a warning": {get("name=n+1/5&project=g/p&status=?"), `1 warned "g/p" status unknown_status "n 1/5" "?"`},
		"all bad": {get("project=CI_PROJECT_PATH&status=success"),
			`1 rejected "CI_PROJECT_PATH" name missing "" ""
1 rejected "CI_PROJECT_PATH" project unexpanded_variable "" "CI_PROJECT_PATH"`},
		"among good ones": {post(ndjson, good+"\n{\n"+good+"\n17\n"+`{"name":"n","project":["p"],"status":"success"}`),
			`1 rejected ""  not_an_object "" "17"
1 rejected ""  not_json "" "{"
1 rejected "" project wrong_type "n" "[\"p\"]"`},
		"wrong type, one not needed": {post(jsonType, `{"name":"n","project":"p","status":"success","ref":[]}`),
			`1 warned "p" ref wrong_type "n" "[]"`},
		"not text": {get("name=n&project=%ff&status=success"), `1 rejected "\xff" project invalid_utf8 "n" "�"`},
		"those alike": {post(jsonType, `[{"name":"a","project":"p","status":"x"},{"name":"b","project":"p","status":"y"},`+
			`{"name":"c","project":"q","status":"z"},{"name":"d","project":"p","status":"z","url":"z"}]`),
			`1 warned "p" url not_a_link "d" "z"
1 warned "q" status unknown_status "c" "z"
3 warned "p" status unknown_status "d" "z"`},
		"warned and rejected alike": {post(jsonType, `[{"name":"n","project":"p","status":"CI_JOB_STATUS"},{"name":"CI_X","project":"p","status":"success"},`+
			`{"name":"n","project":"p","status":"success","id":"$CI_JOB_ID"}]`),
			`1 rejected "p" name unexpanded_variable "CI_X" "CI_X"
1 warned "p" id unexpanded_variable "n" "$CI_JOB_ID"
1 warned "p" status unexpanded_variable "n" "CI_JOB_STATUS"`},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor()
			d.ask(t, test.request)
			if diff := cmp.Diff(test.want, d.brief()); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			d.checkFound(t)
			want := []string{"192.0.2.1"}
			if test.want == "" {
				want = nil // nothing is told of it
			}
			if !slices.Equal(d.senders, want) {
				t.Errorf("senders: %q, want %q", d.senders, want)
			}
		})
	}
}

// However many projects a request has, little is told of it, and every problem is counted.
func TestManyFindings(t *testing.T) {
	d := newDoor()
	var lines strings.Builder
	for i := range steps.MaxItems {
		fmt.Fprintf(&lines, `{"project":"p%d","name":"n%d","status":"%s"}`+"\n", i, i, [...]string{"", "?"}[i%2])
	}
	d.ask(t, post(ndjson, lines.String()))
	d.checkFound(t)
	if n := len(d.found); n != 102 {
		t.Errorf("%d findings, want those of 100 projects, and of the others one for each kind of problem", n)
	}
	others := map[bool]int{}
	for _, f := range d.found {
		if !f.Others {
			continue
		}
		others[f.Rejected] += f.Count
		if f.Project != "" || f.Name != map[bool]string{true: "n9998", false: "n9999"}[f.Rejected] {
			t.Errorf("the others: %+v", f)
		}
	}
	if want := map[bool]int{true: 4950, false: 4950}; !maps.Equal(others, want) {
		t.Errorf("of others: %v, want %v", others, want)
	}
}

func TestSender(t *testing.T) {
	for address, want := range map[string]string{
		"10.1.2.3:4711": "10.1.2.3", "[2001:db8::1]:80": "2001:db8::1", "[fe80::1%eth0]:80": "fe80::1%eth0", "@": "@", "": "",
	} {
		for _, query := range []string{"name=n", "name=%zz"} {
			d := newDoor()
			r := get(query)
			r.RemoteAddr = address
			r.Header.Set("X-Forwarded-For", "192.0.2.9")
			if d.ask(t, r); !slices.Equal(d.senders, []string{want}) {
				t.Errorf("%s: %q, want %q", address, d.senders, want)
			}
		}
	}
}
