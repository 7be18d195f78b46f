package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether a person sits there. /dev/null, the stdin of a
// container, is a device but no terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
