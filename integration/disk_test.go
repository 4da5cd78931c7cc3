package integration

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pare/gguf"
	"pare/host/client"
	"pare/integration/tinymodel"
)

// A smallDisk is what a server keeps its models on.
type smallDisk struct {
	*server
	files  *server           // with the home as this process sees it
	leave  func(bytes int64) // makes it as full as that
	clear  func()            // makes room
	status int               // of a job that finds it full
}

// TestFullDisk lets a job run out of space in the trace, in the cut and before
// either: the answer says so, nothing half-written stays, and with room made
// the job goes on with what it has.
func TestFullDisk(t *testing.T) {
	d := newSmallDisk(t)
	d.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	request := pruneWith(fields{"criterion": "angular", "evaluate": fields{"level": "none"}})
	before := d.files.contents()
	for _, left := range []int64{0, 16 << 10, 256 << 10} {
		d.leave(left)
		request["stream"] = false
		code, body := d.post("/api/prune", request)
		if code != d.status || !strings.Contains(body, `"error":`) {
			t.Errorf("with %d bytes left: status %d, want %d: %s", left, code, d.status, body)
		}
		if d.status == http.StatusInsufficientStorage && !strings.Contains(body, "make room and ask for the same job again") {
			t.Errorf("with %d bytes left: %s", left, body)
		}
		d.clear()
		if jobs := filesBelow(t, filepath.Join(d.files.models(), "pare", "jobs")); left == 0 && len(jobs) > 0 {
			t.Errorf("a job that could not begin left %v", jobs)
		}
		checkUntouched(d.files, before)
		checkStore(t, d.files.models())
		d.generate("tiny", "the light of", 4)
	}
	if list := d.must("jobs"); strings.Count(list, "\n") != 2 || !strings.Contains(list, client.Failed) {
		t.Errorf("the jobs are\n%s", list)
	}
	layers := 2
	stages := d.stages(plainly(client.PruneRequest{Model: "tiny", Name: "small", Layers: &layers, Corpus: &client.Corpus{Name: "tales", Text: tales}}))
	if strings.Contains(fmt.Sprint(stages), "trace") {
		t.Errorf("the job began again: %v", stages)
	}
	checkStore(t, d.files.models())
	d.generate("small", "the light of", 4)
}

// TestFullDiskWhileRepairing gives a job a little more room each time that it runs out:
// it fails with a sentence wherever it then is, and in the end there is a healed model.
func TestFullDiskWhileRepairing(t *testing.T) {
	d := newSmallDisk(t)
	d.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	request := pruneWith(fields{
		"criterion": "angular", "evaluate": fields{"level": "none"}, "stream": false,
		"repair": fields{"steps": 8, "batch": 2, "length": 64, "data": fields{"text": opticks(t)[20_000:60_000]}},
	})
	before := d.files.contents()
	var failed []string
	for left := int64(128 << 10); ; left += 128 << 10 {
		if left > 6<<20 {
			t.Fatalf("the job needs more than %d bytes", left)
		}
		d.leave(left)
		code, body := d.post("/api/prune", request)
		d.clear()
		if code == http.StatusOK {
			break
		}
		failed = append(failed, fmt.Sprintf("%d KiB: %s", left>>10, strings.TrimSpace(body)))
		if code != d.status || !strings.Contains(body, `"error":`) {
			t.Fatalf("with %d bytes left: status %d, want %d: %s", left, code, d.status, body)
		}
		if after := d.files.contents(); !maps.Equal(before, after) {
			t.Errorf("the store was %v and is %v", before, after)
		}
		checkWhole(t, filepath.Join(d.files.models(), "pare", "jobs"))
		d.generate("tiny", "the light of", 4)
	}
	t.Log(strings.Join(failed, "\n"))
	if len(failed) < 3 {
		t.Errorf("the disk was full %d times", len(failed))
	}
	checkStore(t, d.files.models())
	d.generate("small", "the light of", 4)
}

// checkWhole demands that models in a folder, with which a job can go on, are whole, and
// that there is nothing half-written.
func checkWhole(t *testing.T, folder string) {
	t.Helper()
	for _, path := range filesBelow(t, folder) {
		switch base := filepath.Base(path); {
		case strings.HasPrefix(base, "."):
			t.Errorf("%s was left behind", path)
		case strings.HasSuffix(base, ".gguf"):
			f, err := gguf.Open(path)
			if err != nil {
				t.Error(err)
				continue
			}
			f.Close()
		}
	}
}

// newSmallDisk mounts one for the server alone, in a mount namespace, which
// most systems allow to every user. Where not, a limit on the size of files
// makes the same writes fail, with another error and its status.
func newSmallDisk(t *testing.T) *smallDisk {
	const mount = `mount -t tmpfs -o size=8m none "$OLLAMA_MODELS"`
	home := t.TempDir()
	models := filepath.Join(home, "models")
	if err := os.Mkdir(models, 0o755); err != nil {
		t.Fatal(err)
	}
	try := exec.Command("unshare", "-rm", "sh", "-c", mount)
	try.Env = append(os.Environ(), "OLLAMA_MODELS="+models)
	if out, err := try.CombinedOutput(); err != nil {
		t.Logf("no disk can be mounted (%v: %s); the size of files is limited in its place", err, out)
		return limitedFiles(startServerIn(t, home))
	}
	script := filepath.Join(home, "serve")
	text := fmt.Sprintf("#!/bin/sh\nexec unshare -rm sh -c '%s && exec \"$PARE_BIN\" \"$@\"' sh \"$@\"\n", mount)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return mountedDisk(startServerIn(t, home, "PARE_TEST_SERVER="+script))
}

// mountedDisk is filled by a file that stands for those of others.
func mountedDisk(s *server) *smallDisk {
	files := s.in(s.tb)
	files.home = fmt.Sprintf("/proc/%d/root%s", s.cmd.Process.Pid, s.home)
	other := filepath.Join(files.models(), "other")
	d := &smallDisk{server: s, files: files, status: http.StatusInsufficientStorage}
	d.leave = func(bytes int64) {
		var fs unix.Statfs_t
		if err := unix.Statfs(files.models(), &fs); err != nil {
			s.tb.Fatal(err)
		}
		free := int64(fs.Bavail) * fs.Bsize
		if err := os.WriteFile(other, make([]byte, free-bytes), 0o600); err != nil {
			s.tb.Fatal(err)
		}
	}
	d.clear = func() {
		if err := os.Remove(other); err != nil {
			s.tb.Fatal(err)
		}
	}
	return d
}

// limitedFiles lets the server and its plugin write files of some size only.
func limitedFiles(s *server) *smallDisk {
	limit := func(bytes uint64) {
		pids := []int{s.cmd.Process.Pid}
		for pid, what := range s.children() {
			if what == "pare-plugin" {
				pids = append(pids, pid)
			}
		}
		for _, pid := range pids {
			if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
				s.tb.Fatal(err)
			}
		}
	}
	return &smallDisk{
		server: s, files: s, status: http.StatusInternalServerError,
		leave: func(bytes int64) { limit(uint64(bytes)) },
		clear: func() { limit(unix.RLIM_INFINITY) },
	}
}
