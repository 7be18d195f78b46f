package exporter

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
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

	"ci-jobs-metrics/internal/exporter/file"
)

// Limits of what is remembered of a directory.
const (
	maxFiles = 100_000             // that are looked at; a tenth more are remembered between two prunings
	maxKeys  = 500_000             // of all files
	maxRead  = 32 << 20            // bytes; twice what the limits above allow, so all that was written
	maxLine  = 512 << 10           // bytes; half as much again as a file with all its keys has
	longGone = 30 * 24 * time.Hour // a file that was last written before that is over
	tryAgain = time.Minute         // to write a memory that couldn't be written
	leftOver = time.Hour           // after which an unfinished new file is left over
	// slack is how much larger than its contents the file may become before it is rewritten.
	slack = 256 << 10 // bytes
)

// memoryName is the file that remembers, unless another is given.
const memoryName = ".delivered"

// fresh and a random text follow the name of the memory while it is rewritten, because another exporter
// may do the same. Process ids are no help: in containers they are all equal.
const (
	fresh     = ".new-"
	randomLen = 26
)

const memoryHeader = "# What the exporter has delivered of this directory. Without it all is sent again, and the receiver counts nothing twice.\n"

// A record is what is remembered of one file.
type record struct {
	size     int64
	modified int64    // nanoseconds since 1970
	keys     []uint64 // of items that need not be sent again; sorted, as many as a file has items at most
	older    []uint64 // those before them, likewise; those before these are forgotten
	complete bool     // all that was in the file then is settled
	changed  bool     // keys were added since it was written
}

func (r *record) has(key uint64) bool {
	if r == nil {
		return false
	}
	_, found := slices.BinarySearch(r.keys, key)
	if !found {
		_, found = slices.BinarySearch(r.older, key)
	}
	return found
}

func (r *record) count() int { return len(r.keys) + len(r.older) }

// unchanged reports whether the file still is as when it was settled.
func (r *record) unchanged(info fs.FileInfo) bool {
	return r != nil && r.complete && r.size == info.Size() && r.modified == info.ModTime().UnixNano()
}

// A memory knows what of a directory was delivered, also after a restart. It is a
// convenience: what is forgotten is sent again, under the same ids. So nothing is
// synced to disk, lines that make no sense are skipped, and a place that can't be
// written is no reason to stop.
//
// Lines are appended as files are settled, and the last line of a file counts. Now and then everything
// is written to another file that is moved into place. Jobs may be able to write to the directory, so
// the name is never opened for writing: it could be a link by now.
type memory struct {
	path    string
	log     *slog.Logger
	files   map[string]*record
	keys    int      // of all files
	out     *os.File // the file that was written last; nil: none yet
	size    int      // of it, in bytes
	compact int      // its size when it was rewritten
	failed  time.Time
	trouble string // why it can't be written, as last logged
}

// remember reads the memory at the path.
func remember(path string, log *slog.Logger) *memory {
	m := &memory{path: path, log: log, files: make(map[string]*record)}
	m.sweep()
	if err := m.load(time.Now().Add(-longGone)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("what was delivered before can't be read: it is sent again, and counts once", "file", path, "reason", err)
	}
	return m
}

// sweep removes the files of exporters that were killed while they rewrote a memory.
func (m *memory) sweep() {
	root, err := os.OpenRoot(filepath.Dir(m.path))
	if err != nil {
		return
	}
	defer root.Close() //nolint:errcheck // nothing is written through it
	dir, err := root.Open(".")
	if err != nil {
		return
	}
	defer dir.Close() //nolint:errcheck // only read from
	var found []string
	for err == nil && len(found) < maxFiles {
		var names []string
		names, err = dir.Readdirnames(1000)
		for _, name := range names {
			random, ok := strings.CutPrefix(name, filepath.Base(m.path)+fresh)
			if ok && len(random) == randomLen {
				found = append(found, name)
			}
		}
	}
	for _, name := range found {
		if info, err := root.Lstat(name); err == nil && !info.IsDir() && time.Since(info.ModTime()) > leftOver {
			_ = root.Remove(name)
		}
	}
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
	defer f.Close() //nolint:errcheck // only read from
	lines := bufio.NewReaderSize(io.LimitReader(f, maxRead), maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if !tooLong {
			m.learn(line, oldest)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// learn reads a line. The limits hold whatever the file contains.
func (m *memory) learn(line []byte, oldest time.Time) {
	name, r, ok := parseRecord(line)
	if !ok || r.modified < oldest.UnixNano() {
		return
	}
	if before := m.files[name]; before != nil {
		m.keys -= before.count()
	}
	m.files[name] = r
	m.keys += r.count()
	m.prune()
}

// line is a record as it is written: name, size, time, whether that is all, keys, the
// older ones last.
func (r *record) line(name string) string {
	var b strings.Builder
	state := "part"
	if r.complete {
		state = "all"
	}
	fmt.Fprintf(&b, "%s %d %d %s", name, r.size, r.modified, state)
	for _, keys := range [][]uint64{r.keys, r.older} {
		for _, key := range keys {
			b.WriteByte(' ')
			b.WriteString(strconv.FormatUint(key, 16))
		}
	}
	b.WriteByte('\n')
	return b.String()
}

func parseRecord(line []byte) (name string, r *record, ok bool) {
	r = &record{}
	var keys []uint64
	words := 0
	for word := range bytes.FieldsSeq(line) {
		var err error
		switch words {
		case 0:
			name, ok = string(word), isJobFile(string(word))
		case 1:
			r.size, err = strconv.ParseInt(string(word), 10, 64)
		case 2:
			r.modified, err = strconv.ParseInt(string(word), 10, 64)
		case 3:
			r.complete = string(word) == "all"
			ok = r.complete || string(word) == "part"
		default:
			var key uint64
			key, err = strconv.ParseUint(string(word), 16, 64)
			keys = append(keys, key)
		}
		if !ok || err != nil {
			return "", nil, false
		}
		if words++; len(keys) == 2*file.MaxItems {
			break // an exporter writes no more
		}
	}
	recent := min(len(keys), file.MaxItems)
	r.keys, r.older = sorted(keys[:recent]), sorted(keys[recent:])
	return name, r, words >= 4
}

// sorted returns the keys in order, each once, in no more memory than they need.
func sorted(keys []uint64) []uint64 {
	slices.Sort(keys)
	return slices.Clone(slices.Compact(keys))
}

// add remembers that an item of a file need not be sent again, once set is called.
func (m *memory) add(name string, key uint64) {
	r := m.files[name]
	if r == nil {
		r = &record{}
		m.files[name] = r
	}
	if r.has(key) {
		return
	}
	if len(r.keys) >= file.MaxItems { // it was rewritten: the oldest are no longer in it
		m.keys -= len(r.older)
		r.keys, r.older = nil, r.keys
	}
	at, _ := slices.BinarySearch(r.keys, key)
	r.keys, r.changed = slices.Insert(r.keys, at, key), true
	m.keys++
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

// saveAll rewrites everything, but not again and again if that fails.
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
	temporary := name + fresh + rand.Text()[:randomLen]
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := m.write(f)
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		_ = f.Close()
		_ = root.Remove(temporary)
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

// tooMany leaves room, so that not each file causes a rewrite of all.
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
		m.keys -= m.files[names[i]].count()
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
