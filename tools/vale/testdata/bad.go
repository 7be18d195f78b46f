// Package testdata breaks the rules of the linter. What is refused is
// sent again.
package testdata

// stop waits, for it has no file. It says nothing of which the survey knows, and this sentence goes
// on over one clause after the other, and after each of them it continues with one more, until the
// reader has forgotten how it began.
func stop() string {
	return "nobody told us"
}
