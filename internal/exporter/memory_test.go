package exporter

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What is remembered is bounded, in memory and on disk, and the newest jobs stay.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	m := remember(path, slog.New(slog.DiscardHandler))
	now := time.Now().UnixNano()
	const jobs = maxFiles + maxFiles/4
	for i := range jobs {
		name := fmt.Sprint(1+i, ".json")
		m.add(name, uint64(i))
		m.set(name, record{size: 1, modified: now, complete: true})
	}
	m.close()
	if n := len(m.files); n > maxFiles+maxFiles/10 {
		t.Errorf("%d files are remembered", n)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 20<<20 {
		t.Errorf("%v, %v", info, err)
	}
	again := remember(path, slog.New(slog.DiscardHandler))
	for i := jobs - maxFiles; i < jobs; i++ {
		if name := fmt.Sprint(1+i, ".json"); !again.files[name].has(uint64(i)) {
			t.Fatalf("%s is forgotten", name)
		}
	}
	if names := newest([]string{"10.json", "9.json"}); names[0] != "9.json" {
		t.Errorf("the order is %v", names)
	}
}

// The same file that changes over and over is written anew now and then.
func TestMemoryDoesNotGrow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	m := remember(path, slog.New(slog.DiscardHandler))
	for i := range 20_000 {
		m.add("1.json", uint64(i%50))
		m.set("1.json", record{size: int64(i), modified: time.Now().UnixNano(), complete: true})
	}
	m.close()
	if info, err := os.Stat(path); err != nil || info.Size() > 2*slack {
		t.Errorf("%v, %v", info, err)
	}
	if again := remember(path, slog.New(slog.DiscardHandler)); !again.files["1.json"].has(49) || again.files["1.json"].size != 19_999 {
		t.Errorf("remembered %+v", again.files["1.json"])
	}
}
