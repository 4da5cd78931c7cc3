package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// buildPlugin builds a plugin from a folder of this module and returns the
// environment that makes a server use it.
func buildPlugin(tb testing.TB, source string) []string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "pare-plugin")
	if out, err := exec.Command("go", "build", "-o", path, source).CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", source, err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return []string{"PARE_PLUGIN=" + path, "PARE_PLUGIN_SHA256=" + hex.EncodeToString(sum[:])}
}

// A gate holds a job at one point; see testdata/gated.
type gate struct {
	tb      testing.TB
	path    string
	reached chan *os.File // the pipe, once the job is at the gate
}

// newGate closes the gate of that name; only the first job to come is held.
func newGate(tb testing.TB, folder, name string) *gate {
	tb.Helper()
	g := &gate{tb: tb, path: filepath.Join(folder, name), reached: make(chan *os.File, 1)}
	if err := syscall.Mkfifo(g.path, 0o600); err != nil {
		tb.Fatal(err)
	}
	go func() {
		f, err := os.OpenFile(g.path, os.O_WRONLY, 0)
		if err != nil {
			tb.Errorf("open gate: %v", err)
		}
		os.Remove(g.path)
		g.reached <- f
	}()
	return g
}

// wait returns when a job has reached the gate, with what opens it again; done is
// closed if the job ends before.
func (g *gate) wait(s *server, done <-chan struct{}) (open func()) {
	g.tb.Helper()
	select {
	case f := <-g.reached:
		return func() { f.Close() }
	case <-done:
	case <-time.After(2 * time.Minute):
	}
	g.tb.Fatalf("no job came to %s\n%s", filepath.Base(g.path), s.tail())
	return nil
}
