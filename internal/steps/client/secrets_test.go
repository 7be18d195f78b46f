package client_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ci-jobs-metrics/internal/steps/client"
	"ci-jobs-metrics/internal/steps/stepstest"
)

var oneJob = []json.RawMessage{[]byte(`{"id":"1"}`)}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// certificate is that of a receiver that speaks TLS, which is its own CA.
func certificate(r *stepstest.Receiver) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))
}

// The file with the CA need not be there at first, is read again when it changes,
// and may be missing for a moment.
func TestPrivateCA(t *testing.T) {
	t.Parallel()
	to := stepstest.NewTLS(t)
	path := filepath.Join(t.TempDir(), "ca.pem")
	c := newClient(t, to.URL, client.Options{CAFile: path})
	for _, step := range []struct{ file, want string }{
		{"", "no such file"},
		{"not a certificate", "no certificate in PEM"},
		{otherCA, "unknown authority"},
		{certificate(to), ""},
		{"being written", ""},
		{otherCA, "unknown authority"},
	} {
		if step.file != "" {
			write(t, path, step.file)
		}
		_, err := c.Send(t.Context(), oneJob)
		if step.want == "" && err != nil || step.want != "" && (err == nil || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("with %.20q: error %v, want %q", step.file, err, step.want)
		}
	}
	if got := to.IDs(); got != "1 1" {
		t.Errorf("recorded %q", got)
	}
	if _, err := newClient(t, to.URL, client.Options{}).Send(t.Context(), oneJob); err == nil {
		t.Error("a private CA was trusted without being given")
	}
	if _, err := client.New("http://receiver", client.Options{CAFile: path}); err == nil {
		t.Error("a CA without TLS is no error")
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	to := stepstest.NewTLS(t)
	dir := t.TempDir()
	ca, path := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	write(t, ca, certificate(to))
	c := newClient(t, to.URL, client.Options{CAFile: ca, TokenFile: path})
	for _, step := range []struct{ file, sent, err string }{
		{"", "", "no such file"},
		{"  \n", "", "must hold one line"},
		{"secret-1\n", "Bearer secret-1", ""},
		{"secret-2", "Bearer secret-2", ""},
		{"secret 3", "Bearer secret-2", ""},
		{strings.Repeat("x", 2<<20), "Bearer secret-2", ""},
		{"secret-4", "Bearer secret-4", ""},
	} {
		if step.file != "" {
			write(t, path, step.file)
		}
		_, err := c.Send(t.Context(), oneJob)
		if step.err != "" {
			if err == nil || !strings.Contains(err.Error(), step.err) || strings.Contains(err.Error(), "secret") {
				t.Errorf("with %.20q: error %v, want %q", step.file, err, step.err)
			}
			continue
		}
		requests := to.Requests()
		if err != nil || requests[len(requests)-1].Header.Get("Authorization") != step.sent {
			t.Errorf("with %.20q: error %v, last sent %v", step.file, err, requests[len(requests)-1].Header)
		}
	}
}

// Nothing may make it readable on the way.
func TestTokenStaysWithinTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, path := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	write(t, path, "secret")
	if _, err := client.New("receiver", client.Options{TokenFile: path}); !errors.Is(err, client.ErrPlainToken) {
		t.Errorf("in plain text: error %v", err)
	}
	if _, err := client.New("https://user:password@receiver", client.Options{TokenFile: path}); err == nil ||
		strings.Contains(err.Error(), "password@") {
		t.Errorf("beside a password: error %v", err)
	}
	plain, over := stepstest.New(t), stepstest.NewTLS(t)
	if _, err := newClient(t, plain.URL, client.Options{TokenFile: path, PlainToken: true}).Send(t.Context(), oneJob); err != nil {
		t.Error(err)
	}
	if got := plain.Requests()[0].Header.Get("Authorization"); got != "Bearer secret" {
		t.Errorf("allowed in plain text: sent %q", got)
	}
	write(t, ca, certificate(over))
	over.Set(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/steps", http.StatusTemporaryRedirect)
	})
	_, err := newClient(t, over.URL, client.Options{CAFile: ca, TokenFile: path}).Send(t.Context(), oneJob)
	var refusal *client.Error
	if !errors.As(err, &refusal) || refusal.Status != http.StatusTemporaryRedirect || len(plain.Requests()) != 1 {
		t.Errorf("redirected to plain text: error %v, %d requests there", err, len(plain.Requests())-1)
	}
}

// otherCA is the certificate of somebody else.
const otherCA = `-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIUabRQTbO5HoeyK7L/QP70fdDK03MwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTIyMjA0NTU5WhgPMjEyNjEwMjkyMDQ1
NTlaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
kNag3/3zrhSoEa1y1PdkkinjXstyl2XYkdK0DEIzpYAvFm0ta+/3YSoMBCC7FWn9
0wlrk+uv3iF5z2eIyAojUaNTMFEwHQYDVR0OBBYEFBlNCgLSxZahDIwtAeZmml7v
OLV9MB8GA1UdIwQYMBaAFBlNCgLSxZahDIwtAeZmml7vOLV9MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAPNsy383fZpRSx8wUCeBioe/S0ysq+90
VkTQdV3y10ylAiEAzotXu7zpIg/J9WvvVOan+rrnVGFiEb5EFljA7W+Oavs=
-----END CERTIFICATE-----
`
