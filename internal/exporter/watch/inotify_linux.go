package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dirEvents are of interest in every directory of the path: whether the next
	// one comes or goes, becomes accessible, or the directory itself goes.
	dirEvents = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE |
		unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// fileEvents are of interest in the file's own directory too. A file that is
	// only opened or written to is not worth reading yet.
	fileEvents = dirEvents | unix.IN_CLOSE_WRITE
	// selfEvents are about a watched directory itself.
	selfEvents = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_UNMOUNT

	eventSize = unix.SizeofInotifyEvent // without the name
)

// inotify watches every directory of a path, from the root to the file's own, for
// the name that comes next. One directory is not enough: when a parent is moved
// away and created again, the old directory gets no events.
type inotify struct {
	dirs   []string               // all of the path, from the root
	names  []string               // what is of interest in each; the last is the file, or anyName
	wanted func(name string) bool // of the names in a directory; nil: the path is a file
	tell   func(name string)      // what changed in a directory; empty: anything
	fd     int
	events *os.File           // of fd, read through the runtime's poller: no thread waits
	armed  map[int32][]string // per watch: the names that matter
	last   int32              // the watch of the file's own directory
	buf    [4096]byte
}

// anyName stands for every name in a directory. No file can have it.
const anyName = "/"

func newNotifier(path string, wanted func(string) bool, tell func(string)) (notifier, error) {
	dirs, names := split(path)
	if wanted != nil {
		dirs, names = append(dirs, path), append(names, anyName)
	}
	if len(names) == 0 {
		return nil, errors.New("it is the root directory")
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify can't be had: %w", err)
	}
	return &inotify{dirs: dirs, names: names, wanted: wanted, tell: tell, fd: fd, events: os.NewFile(uintptr(fd), "inotify")}, nil
}

// split turns /a/b/file into the directories /, /a, /a/b and the names a, b, file.
func split(path string) (dirs, names []string) {
	for path != "/" {
		dirs = append(dirs, filepath.Dir(path))
		names = append(names, filepath.Base(path))
		path = filepath.Dir(path)
	}
	slices.Reverse(dirs)
	slices.Reverse(names)
	return dirs, names
}

// arm goes down from the root as far as there are directories. One that appears
// after it was looked for is announced by the one above, which is watched by then.
func (n *inotify) arm() error {
	armed := make(map[int32][]string, len(n.dirs))
	var err error
	for i := 0; i < len(n.dirs) && err == nil; i++ {
		var wd int32
		if wd, err = n.add(i); err == nil {
			armed[wd] = append(armed[wd], n.names[i]) // one directory may be there twice, by a link
			n.last = wd
		}
	}
	if err != nil {
		n.last = -1 // it isn't the file's own directory
	}
	for wd := range n.armed {
		if armed[wd] == nil { // no longer in the path; its end may have removed it already
			_, _ = unix.InotifyRmWatch(n.fd, uint32(wd))
		}
	}
	n.armed = armed
	if err == nil || absent(err) {
		// Now that its directory is watched: a link that was made in between, or is
		// made from now on, is not missed.
		err = n.announced()
	}
	if err != nil {
		n.disarm()
	}
	return err
}

// announced is an error if changes of the file would not be announced: where a
// file system doesn't, or where the file is a symbolic link and what it leads to
// is written under another name.
func (n *inotify) announced() error {
	for _, dir := range n.dirs {
		var st unix.Statfs_t
		_ = unix.Statfs(dir, &st) // add finds the same error, and knows what it means
		if name, silent := silentFS[uint32(st.Type)]; silent {
			return fmt.Errorf("%s is on %s", dir, name)
		}
	}
	if n.wanted != nil {
		return nil
	}
	path := filepath.Join(n.dirs[len(n.dirs)-1], n.names[len(n.names)-1])
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return errors.New("it is a symbolic link")
	}
	return nil
}

func (n *inotify) add(i int) (int32, error) {
	mask := uint32(dirEvents)
	if i == len(n.dirs)-1 {
		mask = fileEvents
	}
	wd, err := unix.InotifyAddWatch(n.fd, n.dirs[i], mask|unix.IN_ONLYDIR|unix.IN_MASK_ADD)
	if err != nil {
		return 0, fmt.Errorf("%s can't be watched: %w", n.dirs[i], err)
	}
	return int32(wd), nil
}

// disarm removes all watches, and their events that were not read.
func (n *inotify) disarm() {
	for wd := range n.armed {
		_, _ = unix.InotifyRmWatch(n.fd, uint32(wd))
	}
	n.armed = nil
	for {
		if size, err := unix.Read(n.fd, n.buf[:]); err != nil || size <= 0 {
			return
		}
	}
}

// absent reports whether there is no directory (yet).
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// wait reads events until one matters. A busy directory has many events of other names; each costs a
// comparison.
func (n *inotify) wait() error {
	for {
		size, err := n.events.Read(n.buf[:])
		if err != nil || n.matter(n.buf[:size]) {
			return err
		}
	}
}

func (n *inotify) matter(events []byte) (matter bool) {
	for len(events) >= eventSize {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		end := eventSize + int(binary.NativeEndian.Uint32(events[12:]))
		if end > len(events) { // can't be: the kernel gives whole events
			n.tell("")
			return true
		}
		name := bytes.TrimRight(events[eventSize:end], "\x00")
		if n.matters(wd, mask, name) {
			matter = true
		}
		events = events[end:]
	}
	return matter
}

func (n *inotify) matters(wd int32, mask uint32, name []byte) bool {
	names, ours := n.armed[wd]
	lost := mask&unix.IN_Q_OVERFLOW != 0
	switch {
	case !ours && !lost: // of a directory that is no longer in the path
		return false
	case lost || mask&selfEvents != 0 || len(name) == 0:
		n.tell("")
		return true
	case len(names) == 1 && wd == n.last && n.wanted == nil && names[0] == string(name):
		n.tell(names[0]) // the file
		return true
	case slices.ContainsFunc(names, func(ours string) bool { return ours == string(name) }):
		n.tell("")
		return true
	case slices.Contains(names, anyName) && n.wanted(string(name)):
		n.tell(string(name))
		return true
	}
	return false
}

// interrupt leaves the descriptor open, so that arm never uses one that by then
// belongs to another file.
func (n *inotify) interrupt() { _ = n.events.SetReadDeadline(time.Unix(1, 0)) }

func (n *inotify) close() { _ = n.events.Close() }

// silentFS are the file systems where writes from elsewhere, or any, are not
// announced, by the type that statfs(2) gives.
var silentFS = map[uint32]string{
	0x00006969: "NFS",
	0x0000517B: "SMB",
	0xFE534D42: "SMB",
	0xFF534D42: "CIFS",
	0x65735546: "FUSE",
	0x01021997: "9p",
	0x00C36400: "Ceph",
	0x5346414F: "AFS",
	0x6B414653: "AFS",
	0x73757245: "Coda",
	0x0BD00BD0: "Lustre",
	0x01161970: "GFS2",
	0x7461636F: "OCFS2",
	0x47504653: "GPFS",
	0x19830326: "BeeGFS",
	0xAAD7AAEA: "PanFS",
	0x786F4256: "VirtualBox shared folders",
	0xBACBACBC: "VMware shared folders",
}
