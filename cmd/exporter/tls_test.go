package main_test

import (
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ci-jobs-metrics/internal/steps/stepstest"
)

// A pipe in the token's place holds up neither the exporter nor its end.
func TestTokenIsAPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &pod{process: &process{t: t}, to: stepstest.New(t), dir: dir, path: filepath.Join(dir, "metrics.json")}
	token := filepath.Join(dir, "token")
	p.do(syscall.Mkfifo(token, 0o600))
	p.process = start(t, jobEnv(), p.path, p.to.URL, "--token-file="+token, "--token-over-http")
	p.write(`{}`)
	p.logs("is not a regular file")
	p.do(os.Remove(token))
	p.do(os.WriteFile(token, []byte("word"), 0o600))
	p.sent(build)
	p.term(0)
}

// TLS with a private CA and a token: both files come after the job's, the token is
// replaced, and no log shows it.
func TestPrivateCAAndToken(t *testing.T) {
	t.Parallel()
	to := stepstest.NewTLS(t)
	to.Set(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer second-secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		to.Set(nil)
		to.ServeHTTP(w, r)
	})
	dir := t.TempDir()
	p := &pod{to: to, dir: dir, path: filepath.Join(dir, "metrics.json")}
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	p.process = start(t, jobEnv(), p.path, to.URL, "--tls-ca-file", ca, "--token-file="+token)
	put := func(path, text string) {
		t.Helper()
		p.do(os.WriteFile(path+".new", []byte(text), 0o600))
		p.do(os.Rename(path+".new", path))
	}
	p.write(`{"status":"success"}`)
	p.logs("the CA's certificate")
	put(ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: to.Certificate().Raw})))
	p.logs("the token: open")
	put(token, "first-secret\n")
	p.logs("401 Unauthorized")
	put(token, "second-secret\n")
	p.logs("msg=delivered")
	p.term(0)
	if strings.Contains(p.log.String(), "-secret") {
		t.Errorf("the log has the token: %s", p.log.String())
	}
}
