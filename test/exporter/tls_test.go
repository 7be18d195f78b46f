package exporter_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/test/internal/harness"
)

// A receiver that speaks TLS with a certificate of its own, and exporters that trust
// it, or not.
func TestTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil) // has a certificate for 127.0.0.1 and example.com
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	for name, text := range map[string][]byte{
		"ca.pem":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"web.yml": []byte("tls_server_config:\n  cert_file: ca.pem\n  key_file: key.pem\n"),
		"a.json":  []byte(`{"name":"a","project":"p","status":"success"}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address, err := harness.FreeAddress() // of 127.0.0.1, as the certificate says
	if err != nil {
		t.Fatal(err)
	}
	receiver := harness.NewReceiverAt(t, address, dir)
	args := append(receiver.Arguments(), "--web.config.file="+filepath.Join(dir, "web.yml"))
	receiver.Launch(t, exec.Command(args[0], args[1:]...))

	send := func(want string, flags ...string) {
		t.Helper()
		var log logtest.Buffer
		cmd := exec.Command(harness.Program(t, "exporter"), append(flags, filepath.Join(dir, "a.json"), "https://"+address)...)
		// A job's own CA is not the exporter's.
		cmd.Env, cmd.Stderr = []string{"CI_SERVER_HOST=g", "CI_JOB_ID=1", "SSL_CERT_FILE=" + ca, "SSL_CERT_DIR=" + dir}, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Signal(syscall.SIGKILL)
		if err := harness.Eventually(func() error {
			if !strings.Contains(log.String(), want) {
				return fmt.Errorf("no %q in the log:\n%s", want, &log)
			}
			return nil
		}); err != nil {
			t.Errorf("%v\n%s", err, receiver.LogExcerpt())
		}
	}
	send("certificate signed by unknown authority")
	send("recorded=1", "--tls-ca-file="+ca)
	send("duplicates=1", "--tls-ca-file="+ca)
}
