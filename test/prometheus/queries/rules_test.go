package queries

import (
	"context"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
)

// evaluator runs the rules that we ship, as Prometheus' own manager does, at the times
// that it is given.
type evaluator struct {
	groups []*rules.Group
	every  time.Duration
}

func (r *recording) rules(t *testing.T, p prometheus) *evaluator {
	t.Helper()
	var files []string
	err := filepath.WalkDir("../../../deploy/prometheus/rules", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".yml") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	manager := rules.NewManager(&rules.ManagerOptions{
		NameValidationScheme: model.UTF8Validation,
		Context:              t.Context(),
		QueryFunc:            rules.EngineQueryFunc(p, p),
		NotifyFunc:           func(context.Context, string, ...*rules.Alert) {},
		Appendable:           r.db,
		Queryable:            p,
		Logger:               slog.New(slog.DiscardHandler),
		Parser:               parser.NewParser(parser.Options{}),
	})
	groups, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, files...)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	e := &evaluator{}
	for _, g := range groups {
		e.groups = append(e.groups, g)
	}
	return e
}
