package background_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pare/plugin/background"
)

// All threads of a process that gives way are as nice as they should be, those too that
// it starts later. The process is another: what gave way stays so.
func TestGiveWay(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("nothing gives way here")
	}
	if os.Getenv("GIVE_WAY") == "" {
		c := exec.Command(os.Args[0], "-test.run", "TestGiveWay")
		c.Env = append(os.Environ(), "GIVE_WAY=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	if err := background.GiveWay(); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	defer close(stop)
	for range 8 {
		started := make(chan struct{})
		go func() {
			runtime.LockOSThread() // each needs a thread of its own
			close(started)
			<-stop
		}()
		<-started
	}
	stats, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil || len(stats) < 9 {
		t.Fatalf("%d threads, %v", len(stats), err)
	}
	for _, s := range stats {
		b, err := os.ReadFile(s)
		if err != nil {
			continue // it ended
		}
		_, after, _ := strings.Cut(string(b), ") ")
		if nice := strings.Fields(after)[16]; nice != "10" { // the 19th field of stat, see proc(5)
			t.Errorf("%s: niceness %s, want 10", s, nice)
		}
	}
}
