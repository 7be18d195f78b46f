// Package harness starts, watches and stops the real programs for the packages in test/.
//
// Program returns the path of a built program, Receiver starts and kills a receiver on one
// ledger, and Senders send jobs until each is acknowledged. CheckEachJobCountsOnce compares
// the metrics, the KPI and the ledger with the acknowledged jobs. InjectFaults, MountTmpfs
// and FillDisk make the disk fail under a running receiver.
//
//	receiver := harness.NewReceiver(t)
//	receiver.Start(t)
//	page, err := harness.Fetch(receiver.URL("/metrics"))
//
// Packages below this one have the parts that not every test needs: a browser, a Prometheus
// server, a network of two hosts, and a generator of overload.
//
// A test that lacks a program or a right is skipped, and fails where CI is set.
package harness

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.yaml.in/yaml/v2"
)

// Patience limits how long a test waits for an expected event. Only a failing test waits
// that long.
const Patience = 20 * time.Second

// NeedProgram skips the test if a program is not installed.
func NeedProgram(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		Missing(t, program+" is missing; make test installs it as root on Debian")
	}
}

// NeedRoot skips the test unless it runs as root. Root may mount file systems and start
// programs as another user.
func NeedRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "only root can do this")
	}
}

// Missing skips the test for the given reason. Where CI is set the test fails instead,
// because every test must run there.
func Missing(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip("left out: " + reason)
}

// Eventually calls f every 20 ms until it returns nil. After Patience it returns f's last
// error.
func Eventually(f func() error) error {
	var err error
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return nil
		}
	}
	return err
}

// Fetch returns the body of a page. Every status but 200 is an error, with the body.
func Fetch(url string) (string, error) {
	response, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}

// FreeAddress returns a free port of 127.0.0.1.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// StrictYAML returns a decoder to which unknown and repeated keys are errors.
func StrictYAML(text []byte) *yaml.Decoder {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.SetStrict(true)
	return decoder
}
