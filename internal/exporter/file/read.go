// Package file reads the file in which a job says how it ended.
//
// The path comes in; a [Content] goes out: the JSON objects that are complete so
// far, each as an [Item], whether the end is still being written, and what can't be
// understood. The exporter calls [Read] whenever the file may have changed, and
// once more before it stops.
//
// Any process of the pod can write the file, so nothing of it is trusted: only a
// regular file is opened, no symbolic link out of its directory is followed, and
// at most [MaxSize] bytes are read. It accepts what
// shells and editors write: a byte order mark, UTF-16 (PowerShell), objects in an array, one on each
// line, or one after the other, spread over lines or not.
package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Limits of one file.
const (
	MaxSize  = 1 << 20 // bytes
	MaxItems = 10_000  // JSON objects; those after them are left out, with a fault
)

// A Content is what a file held when it was read.
type Content struct {
	Parsed
	Text     []byte    // all of it, in UTF-8 without a byte order mark
	Modified time.Time // when the file was last written
	Size     int64     // as of then, in bytes
	Identity string    // the same for as long as the file isn't replaced; never empty
}

// An AccessError says that there is a file, but not one that can be read. Its text
// is for people and says what to do.
type AccessError struct {
	Reason string
	Err    error // may be nil
}

func (e *AccessError) Error() string { return e.Reason }
func (e *AccessError) Unwrap() error { return e.Err }

func refuse(err error, format string, args ...any) error {
	return &AccessError{Reason: fmt.Sprintf(format, args...), Err: err}
}

// Read reads the file. The error is fs.ErrNotExist if the file or its directory
// isn't there, an *AccessError if it can't be read for another reason.
func Read(path string) (*Content, error) {
	f, info, err := open(path)
	if err != nil {
		return nil, explain(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	if info.Size() > MaxSize {
		return nil, tooLarge()
	}
	raw, err := io.ReadAll(io.LimitReader(f, MaxSize+1)) // it may grow meanwhile
	if err != nil {
		return nil, explain(err)
	}
	if len(raw) > MaxSize {
		return nil, tooLarge()
	}
	c := &Content{Modified: info.ModTime(), Size: info.Size(), Identity: identity(f, info)}
	text, half := toUTF8(raw)
	c.Text, c.Parsed = text, Parse(text)
	c.Half = c.Half || half
	return c, nil
}

// open opens a regular file within its directory. It looks before it opens:
// opening a pipe and closing it again would kill the job's process that writes it.
func open(path string) (*os.File, fs.FileInfo, error) {
	dir, name := filepath.Split(path)
	root, err := os.OpenRoot(filepath.Clean(dir))
	if err != nil {
		return nil, nil, err
	}
	defer root.Close() //nolint:errcheck // only read from
	if info, err := root.Stat(name); err != nil {
		return nil, nil, refuseLink(root, name, err)
	} else if err := regular(info); err != nil {
		return nil, nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, refuseLink(root, name, err)
	}
	info, err := f.Stat() // of what was opened, whatever the name means by now
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func regular(info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	what := "something else"
	switch mode := info.Mode(); {
	case mode.IsDir():
		what = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		what = "a named pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	}
	return refuse(nil, "it is %s, not a regular file", what)
}

// refuseLink distinguishes a symbolic link that leaves the directory, for which package os has no
// comparable error, from other errors.
func refuseLink(root *os.Root, name string, err error) error {
	known := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
	info, lstatErr := root.Lstat(name)
	if !known && lstatErr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return refuse(err, "it is a symbolic link out of its directory, or to an absolute path, which is not followed: write or move the file itself there")
	}
	return err
}

func tooLarge() error {
	return refuse(nil, "it is larger than %d bytes: only the job's own few fields belong into it", MaxSize)
}

// explain turns the system's errors into what a person can act on.
func explain(err error) error {
	var access *AccessError
	switch {
	case errors.As(err, &access), errors.Is(err, fs.ErrNotExist):
		return err
	case errors.Is(err, fs.ErrPermission):
		return refuse(err, "it must be readable by uid %d, as which the exporter runs: "+
			"chmod 644 the file and 755 its directory (the job's umask is probably 077)", os.Geteuid())
	case errors.Is(err, syscall.ENOTDIR):
		return refuse(err, "its directory is not a directory")
	}
	return refuse(err, "%v", err)
}

// Blank reports whether there is nothing in the file but white space.
func (c *Content) Blank() bool { return len(bytes.TrimSpace(c.Text)) == 0 }
