package integration

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pare/gguf"
	"pare/host/client"
	"pare/repair"
)

// BenchmarkTrainingStep is the time of a training step of SmolLM2 without layers 13-18
// over that of torch and peft, with batches of 4x256 tokens, rank 8, on all linear maps;
// and the peak memory of both. What torch distils by it computes in each step; Pare has
// watched the uncut model before, so steps by the next token compare the trainings alone.
func BenchmarkTrainingStep(b *testing.B) {
	python := peersPython(b)
	s := startServer(b)
	s.createSmol()
	if _, err := s.prune(b.Context(), plainly(client.PruneRequest{Model: "smollm2", Name: "cut", Range: "13-18"})); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		loss, layers, theirs string
		first                int
	}{
		{"next", "all", "all", 0},
		{"next", "above", "all", 12},
		{"next", "above", "above", 12},
		{"distill", "above", "all", 12},
	} {
		b.Run(fmt.Sprintf("%s, %s against %s", c.loss, c.layers, c.theirs), func(b *testing.B) {
			peer := startPeer(b, python, "--loss", c.loss, "--layers", c.theirs)
			config := repair.Config{Loss: c.loss, First: c.first, Rank: 8, Batch: batch, LearningRate: 1e-9, Recompute: repair.RecomputeSelective}
			benchSteps(b, s.gguf("cut"), config, peer)
		})
	}
}

// benchSteps has Pare train, and after each of its steps the peer make one.
func benchSteps(b *testing.B, f *gguf.File, config repair.Config, peer *peer) {
	backend, err := repair.Open(slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Finalize()
	network, err := repair.NewNetwork(f)
	if err != nil {
		b.Fatal(err)
	}
	config.Steps = 9
	rows := randomRows{rand.New(rand.NewPCG(0, 0)), 256, network.Vocabulary, network.Hidden, 64, config.First > 0}
	forgetPeak(b)
	var ratios []float64
	_, err = repair.Train(b.Context(), backend, network, f, config, rows, nil, b.TempDir(), func(step repair.Step) {
		theirs := peer.step(b)
		if step.Step == 1 {
			return // compiles, and warms the peer up
		}
		ratios = append(ratios, step.Seconds/theirs)
		fmt.Printf("step %d: %.2f s / %.2f s = %.3f\n", step.Step, step.Seconds, theirs, step.Seconds/theirs)
	})
	if err != nil {
		b.Fatal(err)
	}
	reportRatios(b, "ours/theirs", ratios)
	mine, other := peakMemory(b, os.Getpid()), peakMemory(b, peer.cmd.Process.Pid)
	fmt.Printf("peak memory %.2f GB / %.2f GB\n", mine/1e9, other/1e9)
	b.ReportMetric(mine/other, "memory")
}

// randomRows are examples of tokens at random, all alike in what they cost.
type randomRows struct {
	random                          *rand.Rand
	length, vocabulary, hidden, top int
	state                           bool
}

// Len implements repair.Source.
func (r randomRows) Len() int { return 64 }

// Read implements repair.Source.
func (r randomRows) Read(int) (repair.Example, error) {
	t := r.length
	x := repair.Example{
		Tokens: make([]int32, t), Segment: make([]int32, t), Position: make([]int32, t), Target: make([]int32, t), Weight: make([]float32, t),
		TopTokens: make([]int32, t*r.top), TopLogProb: make([]float32, t*r.top),
	}
	for i := range t {
		x.Tokens[i], x.Target[i] = r.random.Int32N(int32(r.vocabulary)), r.random.Int32N(int32(r.vocabulary))
		x.Segment[i], x.Position[i], x.Weight[i] = 1, int32(i), 1
	}
	for i, token := range r.random.Perm(r.vocabulary)[:r.top] {
		for at := i; at < len(x.TopTokens); at += r.top {
			x.TopTokens[at], x.TopLogProb[at] = int32(token), -5
		}
	}
	if r.state {
		x.State = make([]float32, t*r.hidden)
		for i := range x.State {
			x.State[i] = float32(r.random.NormFloat64())
		}
	}
	return x, nil
}

// A peer is peers/step.py, which makes a step when it is told to.
type peer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startPeer(b *testing.B, python string, args ...string) *peer {
	b.Helper()
	cmd := exec.Command(python, append([]string{"peers/step.py", "--model", fromMake(b, "PARE_MODEL")}, args...)...)
	cmd.Env = append(os.Environ(), "GLIBC_TUNABLES=") // what Pare's plugin is started with; torch is taken as it comes
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	p := &peer{cmd, in, bufio.NewScanner(out)}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if got := p.line(b); got != "ready" {
		b.Fatalf("the peer says %q", got)
	}
	return p
}

func (p *peer) line(b *testing.B) string {
	b.Helper()
	if !p.out.Scan() {
		b.Fatalf("the peer ended: %v", p.out.Err())
	}
	return p.out.Text()
}

// step has the peer make one, and returns its seconds.
func (p *peer) step(b *testing.B) float64 {
	b.Helper()
	fmt.Fprintln(p.in)
	seconds, err := strconv.ParseFloat(p.line(b), 64)
	if err != nil {
		b.Fatal(err)
	}
	return seconds
}

// forgetPeak sets this process's peak memory to what it has now.
func forgetPeak(b *testing.B) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Skipf("peak memory: %v", err)
	}
}

// peakMemory is the largest resident set of a process, in bytes.
func peakMemory(b *testing.B, pid int) float64 {
	b.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), "VmHWM:")
	var kilobytes float64
	if _, err := fmt.Sscanf(after, "%f kB", &kilobytes); err != nil {
		b.Fatalf("peak memory of %d: %v", pid, err)
	}
	return kilobytes * 1024
}
