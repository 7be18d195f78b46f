package api

import (
	"errors"
	"net/http"
	"slices"
)

// This file is for those who show the same answers in another form, as package page does:
// they read parameters with Read, and ask in the same turns.

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
