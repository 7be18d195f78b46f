package exporter

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// scan queues the files that are not as they were when they were settled.
func (d *directory) scan() {
	names, err := d.list()
	if err != nil {
		if reason := err.Error(); reason != d.trouble && !errors.Is(err, fs.ErrNotExist) {
			d.trouble = reason
			d.Log.Error("the directory can't be listed", "directory", d.Path, "uid", os.Geteuid(), "reason", err)
		}
		return
	}
	d.trouble = ""
	now, old := time.Now(), 0
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(d.Path, name))
		if err != nil {
			continue
		}
		age := now.Sub(info.ModTime())
		switch r := d.memory.files[name]; {
		case r.unchanged(info) && (age > unsettled || age < -unsettled):
		case r == nil && !d.scanned && age > longGone:
			old++
			d.memory.files[name] = &record{size: info.Size(), modified: info.ModTime().UnixNano(), complete: true}
		default:
			d.enqueue(name)
		}
	}
	if old > 0 {
		d.Log.Warn("not sent: files that were last written long ago", "files", old, "directory", d.Path, "longer_ago_than", longGone)
	}
	listed := make(map[string]bool, len(names))
	for _, name := range names {
		listed[name] = true
	}
	for name := range d.open { // what is gone has no troubles any more
		if !listed[name] {
			d.enqueue(name)
		}
	}
	d.scanned = true
	d.deleteOld(names)
}

// list returns the names of the jobs' files, the newest ones if there are too many.
func (d *directory) list() (names []string, err error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	odd := 0
	for {
		some, err := f.Readdirnames(1000)
		for _, name := range some {
			switch {
			case isJobFile(name):
				names = append(names, name)
			case strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, "."):
				if odd++; odd > d.odd {
					d.sayOdd(name)
				}
			}
		}
		if len(names) > 2*maxFiles {
			names = newest(names)
			d.sayMore()
		}
		if errors.Is(err, io.EOF) {
			if len(names) > maxFiles {
				d.sayMore()
			}
			return newest(names), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func newest(names []string) []string {
	slices.SortFunc(names, byJob)
	return slices.Clone(names[max(0, len(names)-maxFiles):])
}

func (d *directory) sayMore() {
	if !d.more {
		d.more = true
		d.Log.Warn("there are more files than are looked at, which are those with the highest job ids; --delete-after makes room",
			"files", maxFiles, "directory", d.Path)
	}
}

// sayOdd logs a file that looks as if somebody expected it to be sent.
func (d *directory) sayOdd(name string) {
	const most = 3
	if d.odd++; d.odd <= most {
		d.Log.Warn("ignored: the file's name is not that of a job, such as 4711.json", "file", filepath.Join(d.Path, name))
	}
}

// isJobFile reports whether a name is that of a job's file: its id, which is a
// number, and .json.
func isJobFile(name string) bool {
	id, ok := strings.CutSuffix(name, ".json")
	return ok && 0 < len(id) && len(id) <= 20 && strings.Trim(id, "0123456789") == ""
}

func (d *directory) deleteDue() bool { return time.Since(d.deleted) > min(deleteEvery, d.DeleteAfter) }

// deleteOld deletes files that are settled and old, if that is asked for. There is
// no timer for it: it happens at the start, and when another file changes.
func (d *directory) deleteOld(names []string) {
	if d.DeleteAfter <= 0 || !d.deleteDue() {
		return
	}
	root, err := os.OpenRoot(d.Path)
	if err != nil {
		return
	}
	defer root.Close() //nolint:errcheck // nothing is written through it
	d.deleted = time.Now()
	gone := 0
	for _, name := range names {
		info, err := root.Lstat(name)
		if err != nil || d.open[name] != nil || !d.memory.files[name].unchanged(info) || len(d.memory.files[name].keys) == 0 ||
			time.Since(info.ModTime()) < d.DeleteAfter {
			continue
		}
		if err := root.Remove(name); err != nil {
			d.Log.Warn("a delivered file can't be deleted", "file", filepath.Join(d.Path, name), "reason", err)
			return
		}
		gone++
	}
	if gone > 0 {
		d.Log.Info("deleted what was delivered", "files", gone, "older_than", d.DeleteAfter)
	}
}
