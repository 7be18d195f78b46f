package api

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
)

// This file is for those who show the same answers in another form, as package page does:
// they read parameters with Read, and ask in the same turns.

// Turns are how many questions may be computed at a time, by all who share them. So a crowd
// of questions leaves processors to jobs that come in.
type Turns struct{ turns }

// NewTurns returns turns for half of the processors: the others are for jobs that come in.
func NewTurns() Turns { return Turns{make(turns, max(1, runtime.GOMAXPROCS(0)/2))} }

// Take waits for a turn, which done ends. It fails if ctx ends before.
func (t Turns) Take(ctx context.Context) (done func(), err error) { return t.take(ctx) }

// Parameters are those that one of Questions takes.
func Parameters(name string) []string {
	at := slices.IndexFunc(questions, func(q question) bool { return q.name == name })
	return questions[at].parameters()
}

// Explain says what to ask instead, if err came of Read: of which parameter, where it is not
// the query as a whole.
func Explain(err error) (parameter, remedy string, ok bool) {
	var r *refusal
	if !errors.As(err, &r) || r.Status != http.StatusBadRequest {
		return "", "", false
	}
	return r.Parameter, r.Remedy, true
}
