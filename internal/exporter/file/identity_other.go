//go:build !linux

package file

import (
	"io/fs"
	"os"
)

// identity is the same for every file: pod and content must do elsewhere.
func identity(*os.File, fs.FileInfo) string { return "file" }
