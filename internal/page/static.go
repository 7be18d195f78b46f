package page

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ci-jobs-metrics/internal/negotiate"

	"ci-jobs-metrics/internal/reply"
)

//go:embed static templates
var files embed.FS

// staticPath is below which files are that pages load.
const staticPath = "/static/"

// A file is one of them. What is behind its name never changes, for the name has a hash of
// it.
type file struct {
	contentType string
	plain, gzip []byte
}

type library struct {
	files map[string]file   // by their path
	names map[string]string // the path of a file, by its name in the folder
	print string            // of all files, with the templates
}

// static is read when the first page is asked for.
var static = sync.OnceValue(func() library {
	l := library{files: map[string]file{}, names: map[string]string{}}
	all := sha256.New()
	_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, _ error) error { // what is embedded can be read
		if d.IsDir() {
			return nil
		}
		content, _ := files.ReadFile(name)
		_, _ = all.Write(content)
		if in, ok := strings.CutPrefix(name, "static/"); ok && slices.Contains(served, path.Ext(name)) {
			l.add(in, content)
		}
		return nil
	})
	l.print = base64.RawURLEncoding.EncodeToString(all.Sum(nil)[:9])
	return l
})

// served are the kinds of files that pages load; beside them there are licences.
var served = []string{".css", ".js", ".svg"}

func (l *library) add(name string, content []byte) {
	sum := sha256.Sum256(content)
	ext := path.Ext(name)
	hashed := staticPath + strings.TrimSuffix(name, ext) + "." + base64.RawURLEncoding.EncodeToString(sum[:9]) + ext
	l.names[name] = hashed
	l.files[hashed] = file{mime.TypeByExtension(ext), content, reply.Compress(content)}
}

func fingerprint() string { return static().print }

// serveStatic serves what pages load. A page of another release may ask for what is not
// there any more.
func serveStatic(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	secure(h)
	f, ok := static().files[r.URL.Path]
	if !ok {
		h.Set("Cache-Control", "no-store")
		http.Error(w, "There is no such file: reload the page.", http.StatusNotFound)
		return
	}
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Content-Type", f.contentType)
	body := f.plain
	if negotiate.Gzip(r.Header.Values("Accept-Encoding")) {
		body = f.gzip
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // an error can only be the connection's
	}
}
