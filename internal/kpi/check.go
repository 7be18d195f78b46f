package kpi

// Check fails, saying what to ask for, if there can be no answer for the period, or no
// series by the interval.
func (q *Query) Check() error { return q.check() }
