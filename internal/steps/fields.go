package steps

import "ci-jobs-metrics/internal/job"

// A field is one text of a report. Answers list the problems of an item's fields in the
// order of these constants.
type field int

const (
	nameField field = iota
	projectField
	statusField
	startedField
	finishedField
	durationField
	idField
	versionField
	jobField
	urlField
	stageField
	refField
	shaField
	pipelineField
	runnerField
	sourceField
	fieldCount

	noField field = -1
)

// fieldNames are the names of the fields on the wire.
var fieldNames = [fieldCount]string{
	"name", "project", "status", "started", "finished", "duration", "id", "version",
	"job", "url", "stage", "ref", "sha", "pipeline", "runner", "source",
}

// fieldNamed returns the field with this name in lower case, or noField.
func fieldNamed(lower string) field {
	switch lower { // several times as fast as a map or a search in fieldNames
	case "name":
		return nameField
	case "project":
		return projectField
	case "status":
		return statusField
	case "started":
		return startedField
	case "finished":
		return finishedField
	case "duration":
		return durationField
	case "id":
		return idField
	case "version":
		return versionField
	case "job":
		return jobField
	case "url":
		return urlField
	case "stage":
		return stageField
	case "ref":
		return refField
	case "sha":
		return shaField
	case "pipeline":
		return pipelineField
	case "runner":
		return runnerField
	case "source":
		return sourceField
	}
	return noField
}

// in returns the place of the field in a report.
func (f field) in(r *job.Report) *string {
	switch f {
	case nameField:
		return &r.Name
	case projectField:
		return &r.Project
	case statusField:
		return &r.Status
	case startedField:
		return &r.Started
	case finishedField:
		return &r.Finished
	case durationField:
		return &r.Duration
	case idField:
		return &r.ID
	case versionField:
		return &r.Version
	case jobField:
		return &r.Job
	case urlField:
		return &r.URL
	case stageField:
		return &r.Stage
	case refField:
		return &r.Ref
	case shaField:
		return &r.SHA
	case pipelineField:
		return &r.Pipeline
	case runnerField:
		return &r.Runner
	default: // source; a caller never passes noField
		return &r.Source
	}
}

// needed reports whether a job without the field would mean nothing, or count twice.
func (f field) needed() bool { return f <= statusField || f == idField }
