package exporter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"ci-jobs-metrics/internal/job"
)

// A counter counts how often a key came before in the same file. Appending to the file changes none of
// its earlier results.
type counter struct{ seen map[string]int }

func newCounter() *counter { return &counter{make(map[string]int)} }

func (c *counter) before(key string) int {
	n := c.seen[key]
	c.seen[key]++
	return n
}

// id is under what the receiver counts an item once. It does not depend on when or
// by which exporter the item is sent:
//
//   - the item's own id, if it has one;
//   - <server host>/<job id>/<name>, with ~1 behind the first repeat of the name in
//     the file, ~2 behind the second, where the job is known;
//   - otherwise a hash of what is known of the job, the pod's name, the file's
//     identity, the item's content and how often the same came before.
func (in *Intake) id(f fields, content []byte, count *counter) string {
	if f.says("id") {
		if own := f.text("id"); own != "" {
			return own
		}
		return string(f["id"]) // of a type that the receiver refuses
	}
	name := job.FoldName(printable(f.text("name")))
	host, number := in.jobKey(f)
	if host == "" || number == "" {
		n := count.before(string(content))
		pod := in.env.value("HOSTNAME")
		return "sha256:" + hash(pod, in.identity, string(content), fmt.Sprint(n),
			number, name, f.known("project"), f.known("started"))
	}
	id := host + "/" + number + "/" + name
	if n := count.before(id); n > 0 {
		id = fmt.Sprintf("%s~%d", id, n)
	}
	return shorten(id)
}

// jobKey returns the host of GitLab and the number of the job; an unknown part is empty.
func (in *Intake) jobKey(f fields) (host, number string) {
	host, number = in.env.serverHost(), in.env.value("CI_JOB_ID")
	if host == "" {
		host = hostOf(f.known("url"))
	}
	if number == "" {
		number = f.known("job_id")
	}
	return host, number
}

// shorten makes an id fit the wire: a readable beginning and a hash of all of it.
func shorten(id string) string {
	if utf8.RuneCountInString(id) <= job.MaxID {
		return id
	}
	sum := "-" + hash(id)
	return string([]rune(id)[:job.MaxID-len(sum)]) + sum
}

// printable has a space for each control character, as the receiver would.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// hash is the SHA-256 of the parts in hexadecimal; where one ends matters.
func hash(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}
