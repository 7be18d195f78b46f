// Package load loads a server on this machine: the load generator of the benchmarks, and
// the servers under load.
package load

import (
	"fmt"
	"strconv"
	"time"
)

// A Workload is a stream of requests.
type Workload struct {
	Name        string
	Connections []int
	Jobs        int // per request
	// Request appends the n-th request of a connection in a round.
	Request func(to []byte, connection, round, n int) []byte
}

// 100 names x 100 projects x 3 statuses, in an order in which neighbours differ.
var (
	names, projects [100]string
	statuses        = [3]string{"success", "success", "failed"}
)

func init() {
	for i := range names {
		names[i] = fmt.Sprintf("template_%02d", i)
		projects[i] = fmt.Sprintf("group-%d/project-%02d", i%10, i)
	}
}

// pick chooses by a multiplicative hash, the same in every run.
func pick(connection, n int) (name, project, status string) {
	h := uint32(connection*1_000_003+n) * 2_654_435_761
	return names[h>>8%100], projects[h>>16%100], statuses[h>>24%3]
}

// Classic is what curl sends, as a query.
var Classic = Workload{Name: "GET, no id", Connections: []int{256, 32}, Jobs: 1, Request: get(false)}

// Workloads are all.
var Workloads = []Workload{
	Classic,
	{Name: "GET, unique id", Connections: []int{256, 32}, Jobs: 1, Request: get(true)},
	{Name: "POST 100, NDJSON", Connections: []int{32, 8}, Jobs: 100, Request: post("application/x-ndjson", "", "\n", "")},
	{Name: "POST 100, array", Connections: []int{32, 8}, Jobs: 100, Request: post("application/json", "[", ",", "]")},
}

// started is a minute and a half ago, so that durations are observed.
var started = time.Now().Add(-90 * time.Second).UTC().Format(time.RFC3339)

func get(withID bool) func([]byte, int, int, int) []byte {
	return func(to []byte, connection, round, n int) []byte {
		name, project, status := pick(connection, n)
		to = append(to, "GET /steps?started="...)
		to = append(to, started...)
		to = append(to, "&status="...)
		to = append(to, status...)
		to = append(to, "&project="...)
		to = append(to, project...)
		to = append(to, "&name="...)
		to = append(to, name...)
		if withID {
			to = append(to, "&id="...)
			to = appendID(to, connection, round, n)
		}
		return append(to, " HTTP/1.1\r\nHost: bench\r\n\r\n"...)
	}
}

// appendID makes an id as the exporter does: host, number, name. Numbers rise with
// time, as GitLab's do.
func appendID(to []byte, connection, round, n int) []byte {
	to = append(to, "gitlab.example/"...)
	to = strconv.AppendInt(to, int64(round)*1_000_000_000+int64(n)*1000+int64(connection), 10)
	return append(to, "/build"...)
}

func post(contentType, open, between, end string) func([]byte, int, int, int) []byte {
	return func(to []byte, connection, round, n int) []byte {
		body := make([]byte, 0, 20_000)
		body = append(body, open...)
		for i := range 100 {
			if i > 0 {
				body = append(body, between...)
			}
			name, project, status := pick(connection, n*100+i)
			body = append(body, `{"started":"`...)
			body = append(body, started...)
			body = append(body, `","status":"`...)
			body = append(body, status...)
			body = append(body, `","project":"`...)
			body = append(body, project...)
			body = append(body, `","name":"`...)
			body = append(body, name...)
			body = append(body, `"}`...)
		}
		body = append(body, end...)
		to = append(to, "POST /steps HTTP/1.1\r\nHost: bench\r\nContent-Type: "...)
		to = append(to, contentType...)
		to = append(to, "\r\nContent-Length: "...)
		to = strconv.AppendInt(to, int64(len(body)), 10)
		to = append(to, "\r\n\r\n"...)
		return append(to, body...)
	}
}
