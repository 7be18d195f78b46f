package file

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// identity is inode and time of birth. The inode alone would be given to the next
// file once this one is deleted.
func identity(f *os.File, info fs.FileInfo) string {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err == nil && st.Mask&unix.STATX_INO != 0 {
		if st.Mask&unix.STATX_BTIME == 0 { // the file system doesn't know
			return fmt.Sprint(st.Ino)
		}
		return fmt.Sprintf("%d@%d.%09d", st.Ino, st.Btime.Sec, st.Btime.Nsec)
	}
	if old, ok := info.Sys().(*syscall.Stat_t); ok { // statx is newer than some sandboxes
		return fmt.Sprint(old.Ino)
	}
	return "file"
}
