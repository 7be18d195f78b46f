package exporter

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"ci-jobs-metrics/internal/exporter/file"
)

// A source is one file of one job: what the latest look at it found, and what of it
// was taken.
type source struct {
	path   string
	log    *slog.Logger
	intake *Intake

	// Of the latest look at the file.
	absent  bool
	trouble string // why it can't be read
	half    bool   // its end is missing
	empty   bool
	faulty  bool

	seen bool            // an item about this job was ever there
	said map[string]bool // faults that were logged
}

func newSource(path string, intake *Intake, log *slog.Logger) *source {
	return &source{path: path, intake: intake, log: log, said: make(map[string]bool)}
}

// read reads the file. It returns nil if there is none that can be read.
func (s *source) read() *file.Content {
	content, err := file.Read(s.path)
	s.absent = errors.Is(err, fs.ErrNotExist)
	s.half, s.empty, s.faulty = false, false, false
	switch {
	case s.absent:
		s.trouble = ""
		return nil
	case err != nil:
		s.refuse(err.Error())
		return nil
	}
	return content
}

// refuse says why the file can't be read, once.
func (s *source) refuse(reason string) {
	if s.trouble != reason {
		s.trouble = reason
		s.log.Error("the file can't be read", "file", s.path, "reason", reason)
	}
}

// take returns what is new in the file.
func (s *source) take(content *file.Content) []Item {
	s.sayFaults(content.Faults)
	fresh, ours := s.intake.Take(content)
	s.seen = s.seen || ours > 0
	s.trouble, s.faulty = "", len(content.Faults) > 0
	s.empty = content.Blank() && !s.seen
	s.half = s.empty || content.Half && !content.Blank() // emptied after it was read: nothing is lost
	return fresh
}

// sayFaults logs each fault once, and not all of a file that is no JSON at all.
func (s *source) sayFaults(faults []file.Fault) {
	const shown, remembered = 10, 1000
	if len(s.said) > remembered {
		clear(s.said)
	}
	for i, fault := range faults {
		text := fault.String()
		if i == shown {
			text = fmt.Sprintf("and %d more lines", len(faults)-shown)
		}
		if i <= shown && !s.said[text] {
			s.said[text] = true
			s.log.Error("not sent: the file is not well-formed JSON", "file", s.path, "fault", text)
		}
	}
}

func (s *source) sayHalf() {
	switch {
	case s.empty:
		s.log.Error("not sent: the file is empty", "file", s.path)
	case s.half:
		s.log.Error("not sent: the file ends in the middle of a JSON value", "file", s.path)
	}
}
