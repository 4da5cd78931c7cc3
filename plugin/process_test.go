package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pare/integration/tinymodel"
)

// A journal is a log to look into.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// buildExample builds testdata/example and returns its path and checksum.
func buildExample(t *testing.T) (path, checksum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "example")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/example").CombinedOutput(); err != nil {
		t.Fatalf("build example: %v\n%s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return path, hex.EncodeToString(sum[:])
}

func launch(t *testing.T, path, checksum string) (*Process, *journal) {
	t.Helper()
	log := &journal{}
	p, err := Launch(path, checksum, "", slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, log
}

// TestProcess runs a plugin of another make in a process of its own.
func TestProcess(t *testing.T) {
	path, checksum := buildExample(t)
	t.Run("job", func(t *testing.T) { testJob(t, path, checksum) })
	t.Run("evaluation", func(t *testing.T) { testEvaluation(t, path, checksum) })
	t.Run("crash", func(t *testing.T) { testCrash(t, path, checksum) })
	t.Run("wrong checksum", func(t *testing.T) {
		other := strings.Repeat("0", len(checksum))
		if _, err := Launch(path, other, "", slog.Default()); KindOf(err) != Unavailable || !strings.Contains(err.Error(), "SHA-256 differs") {
			t.Errorf("launch: %v", err)
		}
	})
	t.Run("log", func(t *testing.T) {
		p, log := launch(t, path, checksum)
		if d, err := p.Describe(t.Context()); err != nil || d.Name != "alternate" {
			t.Fatalf("describe: %+v, %v", d, err)
		}
		for end := time.Now().Add(5 * time.Second); !strings.Contains(log.String(), `level=WARN msg="somebody asked who this is"`); {
			if time.Now().After(end) {
				t.Fatalf("its warning is not in the log:\n%s", log)
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// testJob has the plugin cut a model whose host is this test.
func testJob(t *testing.T, path, checksum string) {
	model, err := tinymodel.New(tinymodel.Config{Architecture: "llama", Layers: 6})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "model.gguf")
	if err := os.WriteFile(file, model, 0o600); err != nil {
		t.Fatal(err)
	}
	parent := Model{Name: "tiny", Digest: "sha256:" + strings.Repeat("a", 64), Path: file, Size: int64(len(model))}
	var given RegisterRequest
	h := lender{
		model: func(context.Context, string) (Model, error) { return parent, nil },
		register: func(_ context.Context, r RegisterRequest) (Model, error) {
			given = r
			_, err := os.Stat(r.Path)
			return Model{Name: r.Name, Digest: r.Digest}, err
		},
	}
	var stages []string
	p, _ := launch(t, path, checksum)
	job := Job{ID: "1", Folder: folder, Name: "small", Profile: ProfileRequest{Model: "tiny"}, Selection: Selection{Layers: 2}}
	report, err := p.Prune(t.Context(), job, h, func(e Event) { stages = append(stages, e.Stage) })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(report.Plan.Remove, []int{1, 3}) || report.Result.Layers != 4 || report.Result.Name != "small" {
		t.Errorf("report: %+v", report)
	}
	if given.Parent != "tiny" || given.Digest != report.Result.Digest {
		t.Errorf("to be registered: %+v", given)
	}
	if stages = slices.Compact(stages); !slices.Equal(stages, []string{"plan", "cut"}) {
		t.Errorf("stages: %q", stages)
	}
	job.Selection.Layers = 5
	if _, err := p.Prune(t.Context(), job, h, func(Event) {}); KindOf(err) != Invalid || !strings.Contains(err.Error(), "give a number from 1 to 2") {
		t.Errorf("prune all but one: kind %d, %v", KindOf(err), err)
	}
}

// testEvaluation has the plugin judge a model by what this test scores.
func testEvaluation(t *testing.T, path, checksum string) {
	h := lender{
		model:    func(_ context.Context, name string) (Model, error) { return Model{Name: name, Size: 5}, nil },
		tokenize: func(context.Context, string, []string) ([][]int32, error) { return [][]int32{{1, 7, 8}}, nil },
		score: func(_ context.Context, r ScoreRequest, each func(Score) error) error {
			same(t, "variants", r.Variants, []Variant{{}, {Bypass: []int{2, 3}}})
			return errors.Join(
				each(Score{LogProb: []float32{-1, -2}, KL: []float32{0, 0}, Agree: []bool{true, true}, Computed: 2}),
				each(Score{Variant: 1, LogProb: []float32{-2, -2}, KL: []float32{0.25, 0.5}, Agree: []bool{true, false}, Computed: 2}))
		},
		generate: func(_ context.Context, r GenerateRequest, each func(Answer) error) error {
			return errors.Join(each(Answer{Text: "rivers"}), each(Answer{Variant: 1, Text: "二"}))
		},
		footprint: func(context.Context, string, Variant) (Footprint, error) { return Footprint{Resident: 6}, nil },
	}
	p, _ := launch(t, path, checksum)
	var events []Event
	e, err := p.Evaluate(t.Context(), EvaluateRequest{Model: "tiny", Bypass: []int{2, 3}}, h, func(e Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	text := e.Text[0]
	same(t, "rise and KL", []float64{text.Rise.Value, text.KL.Value}, []float64{0.5, 0.375})
	same(t, "samples", e.Generation.Samples, []Sample{{Prompt: "Why is the sea salty?", Before: "rivers", After: "二"}})
	same(t, "sides", []any{e.Before.Bytes, e.Before.Footprint.Resident, e.After.Bypass}, []any{int64(5), int64(6), []int{2, 3}})
	same(t, "events", events, []Event{{Stage: "evaluate", Status: "scoring", Completed: 2}, {Stage: "evaluate", Status: "scoring", Completed: 4}})
	if _, err := p.Sweep(t.Context(), SweepRequest{}, h, nil); KindOf(err) != Refused || !strings.Contains(err.Error(), "nothing to compare") {
		t.Errorf("sweep: kind %d, %v", KindOf(err), err)
	}
}

// testCrash kills the plugin in the middle of a call. The caller hears of it, and
// so does who asks next. Nothing is left of it.
func testCrash(t *testing.T, path, checksum string) {
	temp, err := os.MkdirTemp("", "") // a short name: sockets are made in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	t.Setenv("TMPDIR", temp)
	for name, call := range map[string]func(*Process, Host) error{
		"prune": func(p *Process, h Host) error {
			_, err := p.Prune(t.Context(), Job{}, h, func(Event) {})
			return err
		},
		"evaluate": func(p *Process, h Host) error {
			_, err := p.Evaluate(t.Context(), EvaluateRequest{}, h, func(Event) {})
			return err
		},
	} {
		p, _ := launch(t, path, checksum)
		if p.Exited() {
			t.Fatal("it is said to have ended")
		}
		h := lender{model: func(ctx context.Context, _ string) (Model, error) {
			syscall.Kill(p.Pid(), syscall.SIGKILL)
			<-ctx.Done()
			return Model{}, ctx.Err()
		}}
		if err := call(p, h); !errors.Is(err, ErrLost) {
			t.Errorf("%s: %v, want ErrLost", name, err)
		}
		if !p.Exited() {
			t.Errorf("%s: it is said to run still", name)
		}
		if _, err := p.Describe(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("describe: %v, want ErrLost", err)
		}
		if _, err := p.Sweep(t.Context(), SweepRequest{}, h, nil); !errors.Is(err, ErrLost) {
			t.Errorf("sweep: %v, want ErrLost", err)
		}
		if _, err := p.Merge(t.Context(), MergeRequest{}, h, nil); !errors.Is(err, ErrLost) {
			t.Errorf("merge: %v, want ErrLost", err)
		}
	}
	var left []os.DirEntry
	for range 50 { // this process's own socket goes soon
		if left, _ = os.ReadDir(temp); len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("left behind: %v", left)
}

// TestLaunchRefuses asks for what cannot be started.
func TestLaunchRefuses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\necho hello\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("#!/bin/sh\necho hello\n"))
	for name, c := range map[string]struct{ path, checksum, says string }{
		"no checksum":  {text, "", "SHA-256 is not known"},
		"half of one":  {text, "abcd", "SHA-256 is not known"},
		"no file":      {text + "-none", hex.EncodeToString(sum[:]), "put pare-plugin beside pare"},
		"not a plugin": {text, hex.EncodeToString(sum[:]), "start plugin " + text},
	} {
		if _, err := Launch(c.path, c.checksum, "", slog.New(slog.DiscardHandler)); KindOf(err) != Unavailable || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: kind %d, %v", name, KindOf(err), err)
		}
	}
}
