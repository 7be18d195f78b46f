// Command footprint measures what the exporter costs while it waits and after it has
// sent, and how fast it is, beside a minimal program that does the same (bench/sidecar).
//
//	footprint [-runs 200] EXPORTER SIDECAR
//
// Both take turns, so that what else the machine does hits both. Each run is a new
// process: it waits, sends one job to localhost over a new connection, and a second one
// over the same. Half of the runs speak TLS.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settle is how long a program may take to be as it stays, and for how long it is
// watched then.
const settle = 250 * time.Millisecond

var runs = flag.Int("runs", 200, "runs of each program, half of them over TLS")

func main() {
	flag.Parse()
	log.SetFlags(0)
	if flag.NArg() != 2 {
		log.Fatal("usage: footprint [-runs 200] EXPORTER SIDECAR")
	}
	dir, err := os.MkdirTemp(filepath.Dir(flag.Arg(0)), "footprint") // not in /tmp, where others' files wake who watches
	check(err)
	dir, err = filepath.Abs(dir)
	check(err)
	defer func() { _ = os.RemoveAll(dir) }()
	r := newReceiver(dir)
	programs := []*program{{name: "exporter", path: flag.Arg(0)}, {name: "minimal", path: flag.Arg(1)}}
	for i := range max(*runs, 2) { // one of each kind at least
		for _, p := range programs {
			p.run(r, filepath.Join(dir, fmt.Sprint(p.name, i)), i%2 == 1)
		}
	}
	fmt.Printf("%d runs of each, %s, %d processors, medians\n\n", max(*runs, 2), runtime.Version(), runtime.NumCPU())
	fmt.Printf("%-54s %10s %10s\n", "", programs[0].name, programs[1].name)
	row("binary, MB", "%.2f", programs, func(p *program) float64 { return p.size() / 1e6 })
	for _, stage := range []string{waiting, overHTTP, overTLS} {
		for _, field := range []string{"VmRSS", "VmHWM", "RssAnon"} {
			row(stage+", "+field+", MB", "%.2f", programs, func(p *program) float64 { return quantile(p.figures[stage+field], 0.5) * 1024 / 1e6 })
		}
	}
	row("waiting, CPU ticks, all runs", "%.0f", programs, func(p *program) float64 { return sum(p.figures["ticks"]) })
	row("waiting, voluntary switches, all runs", "%.0f", programs, func(p *program) float64 { return sum(p.figures["switches"]) })
	for _, kind := range []string{"running, HTTP", "running, TLS", "new connection and name, HTTP", "new connection and name, TLS"} {
		for _, q := range []float64{0.5, 0.95} {
			row(fmt.Sprintf("closed to request, %s, p%.0f, ms", kind, q*100), "%.2f", programs,
				func(p *program) float64 { return quantile(p.figures[kind], q) })
		}
	}
}

func row(what, format string, programs []*program, figure func(*program) float64) {
	fmt.Printf("%-54s", what)
	for _, p := range programs {
		fmt.Printf(" %10s", fmt.Sprintf(format, figure(p)))
	}
	fmt.Println()
}

// The stages of a run after which its memory is looked at.
const (
	waiting  = "waiting"
	overHTTP = "after HTTP"
	overTLS  = "after TLS"
)

// A program is one of the two, with what was measured.
type program struct {
	name    string
	path    string
	figures map[string][]float64
}

func (p *program) size() float64 {
	info, err := os.Stat(p.path)
	check(err)
	return float64(info.Size())
}

func (p *program) add(figure string, value float64) {
	if p.figures == nil {
		p.figures = make(map[string][]float64)
	}
	p.figures[figure] = append(p.figures[figure], value)
}

func (p *program) run(r *receiver, dir string, secure bool) {
	check(os.Mkdir(dir, 0o755))
	path, url, stage, over := filepath.Join(dir, "metrics.json"), r.plain, overHTTP, "HTTP"
	args := []string{path}
	if secure {
		url, stage, over = r.secure, overTLS, "TLS"
	}
	if args = append(args, url); secure && p.name == "exporter" {
		args = append(args, "--tls-ca-file="+r.ca)
	}
	cmd := exec.Command(p.path, args...)
	// Beside what a job's container has: the minimal program knows no flag for the CA.
	cmd.Env = []string{"CI_JOB_ID=1", "CI_SERVER_HOST=gitlab.example", "CI_PROJECT_PATH=p", "SSL_CERT_FILE=" + r.ca, "SSL_CERT_DIR=/nowhere"}
	cmd.Stderr = &words{}
	check(cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	time.Sleep(settle)
	before := activityOf(cmd.Process.Pid)
	time.Sleep(settle)
	after := activityOf(cmd.Process.Pid)
	p.add("ticks", after.ticks-before.ticks)
	p.add("switches", after.switches-before.switches)
	p.weigh(cmd.Process.Pid, waiting)
	text := `{"name":"a","status":"success"}`
	p.add("new connection and name, "+over, r.time(path, text))
	time.Sleep(20 * time.Millisecond)
	p.add("running, "+over, r.time(path, text+`{"name":"b","status":"success"}`))
	time.Sleep(20 * time.Millisecond)
	p.weigh(cmd.Process.Pid, stage)
}

// weigh notes the memory, in KiB.
func (p *program) weigh(pid int, stage string) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	check(err)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name == "VmRSS" || name == "VmHWM" || name == "RssAnon" {
			p.add(stage+name, number(strings.Fields(value)[0]))
		}
	}
}

type activity struct{ ticks, switches float64 }

// activityOf is what all threads of a process did since it began.
func activityOf(pid int) (a activity) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	check(err)
	for _, thread := range threads {
		status, err := os.ReadFile(filepath.Join(thread, "status"))
		check(err)
		for line := range strings.Lines(string(status)) {
			if value, ok := strings.CutPrefix(line, "voluntary_ctxt_switches:"); ok {
				a.switches += number(strings.TrimSpace(value))
			}
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	check(err)
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	a.ticks = number(fields[11]) + number(fields[12])
	return a
}

// A receiver answers every request alike, and notes when it came.
type receiver struct {
	plain, secure string // addresses, by name
	ca            string // file
	came          chan time.Time
}

func newReceiver(dir string) *receiver {
	r := &receiver{ca: filepath.Join(dir, "ca.pem"), came: make(chan time.Time, 1)}
	certificate := selfSigned(r.ca)
	for _, secure := range []bool{false, true} {
		l, err := net.Listen("tcp", "localhost:0")
		check(err)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if secure {
			r.secure = "https://localhost:" + port + "/steps"
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}})
		} else {
			r.plain = "http://localhost:" + port + "/steps"
		}
		server := &http.Server{Handler: r, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(l) }()
	}
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, request.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"recorded":1,"duplicates":0,"warnings":[],"rejected":[]}`)
	r.came <- now
}

// time writes the file and returns how many milliseconds after it was closed the
// request came.
func (r *receiver) time(path, text string) float64 {
	f, err := os.Create(path)
	check(err)
	_, err = f.WriteString(text)
	check(err)
	start := time.Now()
	check(f.Close())
	select {
	case at := <-r.came:
		return float64(at.Sub(start)) / 1e6
	case <-time.After(10 * time.Second):
		log.Fatal("no request within 10 s")
		return 0
	}
}

func selfSigned(file string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(err)
	check(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// words drops what the programs log, but for what ends them.
type words struct{}

func (*words) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "panic") || strings.Contains(string(p), "ERROR") {
		log.Printf("%s", p)
	}
	return len(p), nil
}

func number(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	check(err)
	return n
}

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
