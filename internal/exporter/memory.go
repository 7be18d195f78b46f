package exporter

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Limits of what is remembered of a directory.
const (
	maxFiles = 100_000             // that are looked at; a tenth more are remembered between two prunings
	maxKeys  = 1_000_000           // of all files
	longGone = 30 * 24 * time.Hour // a file that was last written before that is over
	tryAgain = time.Minute         // to write a memory that couldn't be written
	// slack is by how much the file may outgrow what is in it before it is written anew.
	slack = 256 << 10 // bytes
)

// memoryName is the file that remembers, unless another is given.
const memoryName = ".delivered"

const memoryHeader = "# What the exporter has delivered of this directory. Without it all is sent again, and the receiver counts nothing twice.\n"

// A record is what is remembered of one file.
type record struct {
	size     int64
	modified int64    // nanoseconds since 1970
	keys     []uint64 // of items that need not be sent again; sorted
	complete bool     // all that was in the file then is settled
	changed  bool     // keys were added since it was written
}

func (r *record) has(key uint64) bool {
	if r == nil {
		return false
	}
	_, found := slices.BinarySearch(r.keys, key)
	return found
}

// unchanged reports whether the file still is as when it was settled.
func (r *record) unchanged(info fs.FileInfo) bool {
	return r != nil && r.complete && r.size == info.Size() && r.modified == info.ModTime().UnixNano()
}

// A memory knows what of a directory was delivered, also after a restart. It is a
// convenience: what is forgotten is sent again, under the same ids. So nothing is
// synced to disk, lines that make no sense are skipped, and a place that can't be
// written is no reason to stop.
//
// Lines are appended as files are settled, the latest of a file counts, and now and
// then all is written anew to another file that takes the name. Jobs may be able to
// write the directory, so the name is never opened for writing: it could be a link
// by now.
type memory struct {
	path    string
	log     *slog.Logger
	files   map[string]*record
	keys    int      // of all files
	out     *os.File // the file that was written last; nil: none yet
	size    int      // of it, in bytes
	compact int      // what it was when it was written anew
	failed  time.Time
	trouble string // why it can't be written, as last logged
}

// remember reads the memory at the path.
func remember(path string, log *slog.Logger) *memory {
	m := &memory{path: path, log: log, files: make(map[string]*record)}
	if err := m.load(time.Now().Add(-longGone)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("what was delivered before can't be read: it is sent again, and counts once", "file", path, "reason", err)
	}
	return m
}

func (m *memory) load(oldest time.Time) error {
	root, err := os.OpenRoot(filepath.Dir(m.path))
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // only read from
	info, err := root.Lstat(filepath.Base(m.path))
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	f, err := root.OpenFile(filepath.Base(m.path), os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a pipe by now
	if err != nil {
		return err
	}
	defer f.Close()       //nolint:errcheck // only read from
	const most = 64 << 20 // bytes; several times what the limits allow
	lines := bufio.NewScanner(io.LimitReader(f, most))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, r, ok := parseRecord(lines.Text())
		if ok && r.modified >= oldest.UnixNano() {
			if before := m.files[name]; before != nil {
				m.keys -= len(before.keys)
			}
			m.files[name] = r
			m.keys += len(r.keys)
		}
	}
	m.prune()
	return lines.Err()
}

// line is a record as it is written: name, size, time, whether that is all, keys.
func (r *record) line(name string) string {
	var b strings.Builder
	state := "part"
	if r.complete {
		state = "all"
	}
	fmt.Fprintf(&b, "%s %d %d %s", name, r.size, r.modified, state)
	for _, key := range r.keys {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatUint(key, 16))
	}
	b.WriteByte('\n')
	return b.String()
}

func parseRecord(line string) (name string, r *record, ok bool) {
	words := strings.Fields(line)
	if len(words) < 4 || !isJobFile(words[0]) || words[3] != "all" && words[3] != "part" {
		return "", nil, false
	}
	r = &record{complete: words[3] == "all"}
	var err, err2 error
	r.size, err = strconv.ParseInt(words[1], 10, 64)
	r.modified, err2 = strconv.ParseInt(words[2], 10, 64)
	if err != nil || err2 != nil {
		return "", nil, false
	}
	for _, word := range words[4:] {
		key, err := strconv.ParseUint(word, 16, 64)
		if err != nil {
			return "", nil, false
		}
		r.keys = append(r.keys, key)
	}
	slices.Sort(r.keys)
	return words[0], r, true
}

// add remembers that an item of a file need not be sent again, once set is called.
func (m *memory) add(name string, key uint64) {
	r := m.files[name]
	if r == nil {
		r = &record{}
		m.files[name] = r
	}
	if at, found := slices.BinarySearch(r.keys, key); !found {
		r.keys, r.changed = slices.Insert(r.keys, at, key), true
		m.keys++
	}
}

// set remembers how the file was when it was read, and writes that if it is news.
func (m *memory) set(name string, now record) {
	r := m.files[name]
	if r == nil {
		r = &record{changed: true}
		m.files[name] = r
	}
	if !r.changed && r.size == now.size && r.modified == now.modified && r.complete == now.complete {
		return
	}
	r.size, r.modified, r.complete, r.changed = now.size, now.modified, now.complete, false
	m.save(name)
}

// save writes the record of a file.
func (m *memory) save(name string) {
	line := m.files[name].line(name)
	if m.out != nil && m.size+len(line) < 2*m.compact+slack && !m.tooMany() {
		n, err := m.out.WriteString(line)
		if m.size += n; err == nil {
			return
		}
		m.explain(err)
		m.forgetFile()
	}
	m.saveAll()
}

// saveAll writes everything anew, but not again and again where that fails.
func (m *memory) saveAll() {
	m.prune()
	if !m.failed.IsZero() && time.Since(m.failed) < tryAgain {
		return
	}
	m.forgetFile()
	if err := m.rewrite(); err != nil {
		m.failed = time.Now()
		m.explain(err)
		return
	}
	m.failed, m.trouble = time.Time{}, ""
}

func (m *memory) rewrite() error {
	root, err := os.OpenRoot(filepath.Dir(m.path))
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is written through it
	name := filepath.Base(m.path)
	fresh := name + ".new"
	if err := root.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := m.write(f)
	if err == nil {
		err = root.Rename(fresh, name)
	}
	if err != nil {
		_ = f.Close()
		_ = root.Remove(fresh)
		return err
	}
	m.out, m.size, m.compact = f, size, size
	return nil
}

func (m *memory) write(f io.Writer) (size int, err error) {
	b := bufio.NewWriter(f)
	size, _ = b.WriteString(memoryHeader)
	oldest := time.Now().Add(-longGone).UnixNano()
	for name, r := range m.files {
		if r.modified >= oldest {
			n, _ := b.WriteString(r.line(name))
			size += n
		}
	}
	return size, b.Flush() // has the error of every write before
}

// tooMany leaves room, so that not each file makes all be written anew.
func (m *memory) tooMany() bool {
	return len(m.files) > maxFiles+maxFiles/10 || m.keys > maxKeys+maxKeys/10
}

// prune forgets the oldest jobs if there are too many. Job ids count up.
func (m *memory) prune() {
	if !m.tooMany() {
		return
	}
	names := make([]string, 0, len(m.files))
	for name := range m.files {
		names = append(names, name)
	}
	slices.SortFunc(names, byJob)
	for i := 0; len(m.files) > maxFiles || m.keys > maxKeys; i++ {
		m.keys -= len(m.files[names[i]].keys)
		delete(m.files, names[i])
	}
}

// byJob sorts the files of a directory by the ids of their jobs.
func byJob(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }

func (m *memory) explain(err error) {
	if reason := err.Error(); reason != m.trouble {
		m.trouble = reason
		m.log.Warn("what was delivered can't be remembered: after a restart it is sent again, and counts once",
			"file", m.path, "reason", reason)
	}
}

func (m *memory) forgetFile() {
	if m.out != nil {
		_ = m.out.Close()
		m.out = nil
	}
}

// close closes the file. Everything was written before.
func (m *memory) close() { m.forgetFile() }
