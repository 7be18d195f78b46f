//go:build !linux

package main

import "os"

// isTerminal reports whether a person sits there: it is a device, but not the one
// that a service has for a stdin.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && !os.SameFile(info, null)
}
