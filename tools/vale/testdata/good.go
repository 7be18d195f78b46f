// Package testdata keeps the rules of the linter. The exporter waits because it has no file.
package testdata

// stop returns a text that a user understands.
func stop() string {
	return "the file is too large: write at most 1 MiB"
}
