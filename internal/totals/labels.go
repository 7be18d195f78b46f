package totals

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ci-jobs-metrics/internal/job"
)

// labelFields are the fields of a job that an operator may have as labels, by the
// name of the label.
var labelFields = map[string]func(*job.Job) string{
	"version":  func(j *job.Job) string { return j.Version },
	"stage":    func(j *job.Job) string { return j.Stage },
	"ref":      func(j *job.Job) string { return j.Ref },
	"runner":   func(j *job.Job) string { return j.Runner },
	"source":   func(j *job.Job) string { return j.Source },
	"job_name": func(j *job.Job) string { return j.Job }, // Prometheus has a label job of its own
}

// LabelNames are the labels that an operator may choose, sorted.
func LabelNames() []string { return slices.Sorted(maps.Keys(labelFields)) }

// CheckLabels fails, with what to write instead, unless each name is one of
// LabelNames, and there once.
func CheckLabels(names []string) error {
	seen := map[string]bool{}
	for _, name := range names {
		switch _, ok := labelFields[name]; {
		case ok && !seen[name]:
			seen[name] = true
		case ok:
			return fmt.Errorf("label %s is there twice", name)
		case name == "job":
			return fmt.Errorf("label job is Prometheus' own: write job_name for GitLab's name of the job")
		case slices.Contains([]string{"template", "name", "project", "status"}, name):
			return fmt.Errorf("label %s is there without asking (a job's name is the label template)", name)
		case slices.Contains([]string{"id", "url", "sha", "pipeline"}, name):
			return fmt.Errorf("%s is different for nearly every job, which makes a series of each: choose among %s",
				name, strings.Join(LabelNames(), ", "))
		default:
			return fmt.Errorf("%q is no label: choose among %s", name, strings.Join(LabelNames(), ", "))
		}
	}
	return nil
}

// EncodeLabels writes labels as the Labels of a key: a JSON object with sorted keys,
// without those that have no value; the empty text if none has one.
func EncodeLabels(values map[string]string) string {
	given := maps.Clone(values)
	maps.DeleteFunc(given, func(_, v string) bool { return v == "" })
	if len(given) == 0 {
		return ""
	}
	encoded, err := json.Marshal(given)
	if err != nil {
		panic(err) // texts can always be encoded
	}
	return string(encoded)
}

// DecodeLabels reads the Labels of a key. A label without a value isn't there.
func DecodeLabels(labels string) (map[string]string, error) {
	values := map[string]string{}
	if labels == "" {
		return values, nil
	}
	if err := json.Unmarshal([]byte(labels), &values); err != nil {
		return nil, fmt.Errorf("labels %q: %w", labels, err)
	}
	return values, nil
}

// labelsOf are a job's labels. Encoding takes long beside the rest of Apply, so those
// that have been met are remembered, up to a limit that only senders reach who make
// values up.
func (t *Totals) labelsOf(j *job.Job) string {
	if len(t.settings.Labels) == 0 {
		return ""
	}
	t.labelText = t.labelText[:0]
	for _, name := range t.settings.Labels {
		t.labelText = append(t.labelText, labelFields[name](j)...)
		t.labelText = append(t.labelText, 0) // which no text of a job has in it
	}
	encoded, ok := t.encoded[string(t.labelText)]
	if !ok {
		encoded = EncodeLabels(labelValues(j, t.settings.Labels))
		if t.encodedSize += 2 * len(t.labelText); t.encodedSize > maxEncoded {
			clear(t.encoded)
			t.encodedSize = 0
		}
		t.encoded[string(t.labelText)] = encoded
	}
	return encoded
}

const maxEncoded = 4 << 20 // bytes, about

func labelValues(j *job.Job, names []string) map[string]string {
	values := make(map[string]string, len(names))
	for _, name := range names {
		values[name] = labelFields[name](j)
	}
	return values
}

// otherLabels is the value of the operator's labels behind the budget.
func otherLabels(names []string) string {
	values := map[string]string{}
	for _, name := range names {
		values[name] = Other
	}
	return EncodeLabels(values)
}

// keepLabels leaves those labels that names has.
func keepLabels(labels string, names []string) string {
	values, err := DecodeLabels(labels)
	if err != nil {
		return "" // nothing that can be told apart
	}
	maps.DeleteFunc(values, func(name, _ string) bool { return !slices.Contains(names, name) })
	return EncodeLabels(values)
}
