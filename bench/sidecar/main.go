// Command sidecar is the least that could be done in place of the exporter: raw
// inotify and net/http, and none of what can go wrong. make footprint measures the
// exporter beside it.
//
//	sidecar FILE URL
package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func main() {
	path, url := os.Args[1], os.Args[2]
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	check(err)
	_, err = unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO)
	check(err)
	events := os.NewFile(uintptr(fd), "inotify")
	buf := make([]byte, 4096)
	_, _ = os.Stderr.WriteString("waiting\n")
	for {
		n, err := events.Read(buf)
		check(err)
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
			name := string(bytes.TrimRight(rest[unix.SizeofInotifyEvent:end], "\x00"))
			if rest = rest[end:]; name == filepath.Base(path) {
				send(path, url)
			}
		}
	}
}

func send(path, url string) {
	text, err := os.ReadFile(path)
	check(err)
	response, err := http.Post(url, "application/x-ndjson", bytes.NewReader(text))
	check(err)
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
