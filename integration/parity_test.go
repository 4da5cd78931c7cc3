package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/ollama/ollama/llama"
	"github.com/ollama/ollama/ml"

	"pare/convert/quant"
	"pare/gguf"
	"pare/integration/tinymodel"
	"pare/repair"
)

// What may lie between the graph and llama.cpp, which rounds activations to 8 bits
// where weights are quantised, keys and values to 16, and reads GELU from a table.
const (
	parityKL        = 1e-3 // nats a token, mean
	parityAgreement = 0.99 // share of the tokens whose most likely successor is the same
)

// TestParity holds the logits of the graph against llama.cpp's, for each architecture
// and each way of telling positions.
func TestParity(t *testing.T) {
	startLlama(t)
	b := xla(t)
	for name, c := range map[string]tinymodel.Config{
		"llama":         {Architecture: "llama", Float32: true},
		"llama F16":     {Architecture: "llama"},
		"llama linear":  {Architecture: "llama", Float32: true, Positions: "linear"},
		"llama factors": {Architecture: "llama", Float32: true, Positions: "factors"},
		"llama yarn":    {Architecture: "llama", Float32: true, Positions: "yarn"},
		"qwen2":         {Architecture: "qwen2", Float32: true},
		"qwen2 yarn":    {Architecture: "qwen2", Float32: true, Positions: "yarn"},
		"qwen3":         {Architecture: "qwen3", Float32: true},
		"gemma2":        {Architecture: "gemma2", Float32: true},
		"gemma3":        {Architecture: "gemma3", Float32: true},
		"gemma3 linear": {Architecture: "gemma3", Float32: true, Positions: "linear"},
		"gemma3 yarn":   {Architecture: "gemma3", Float32: true, Positions: "yarn"},
		"phi3":          {Architecture: "phi3", Float32: true},
		"phi3 factors":  {Architecture: "phi3", Float32: true, Positions: "factors"},
		"phi3 yarn":     {Architecture: "phi3", Float32: true, Positions: "yarn"},
	} {
		t.Run(name, func(t *testing.T) {
			path := tinyFile(t, c)
			r := rand.New(rand.NewPCG(1, 2))
			tokens := make([]int32, 400)
			for i := range tokens {
				tokens[i] = int32(r.IntN(300))
			}
			sequences := [][]int32{tokens}
			requireParity(t, graphLogits(t, b, path, sequences), path, sequences)
		})
	}
}

// TestParityOfARealModel does so with quantised weights and real text. llama.cpp
// gets the same weights as F32, for then it leaves activations as they are; what its
// rounding makes of them otherwise is logged.
func TestParityOfARealModel(t *testing.T) {
	startLlama(t)
	b, path := xla(t), fromMake(t, "PARE_MODEL")
	sequences := realTokens(t, path)
	graph := graphLogits(t, b, path, sequences)
	distance(t, graph, path, sequences)
	requireParity(t, graph, unpacked(t, path), sequences)
}

// realTokens are four pieces of prose.
func realTokens(t *testing.T, path string) [][]int32 {
	t.Helper()
	m := loadLlama(t, path)
	var sequences [][]int32
	for i := range 4 {
		some, err := m.Tokenize(passage(t, i, 2_000), true, false)
		if err != nil {
			t.Fatal(err)
		}
		var tokens []int32
		for _, token := range some[:256] {
			tokens = append(tokens, int32(token))
		}
		sequences = append(sequences, tokens)
	}
	return sequences
}

// unpacked writes a model's weights as F32 to a file of its own.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	f := openGGUF(t, path)
	l := f.Layout()
	for i, old := range l.Tensors {
		wide := old.Tensor
		wide.Type = gguf.F32
		size, err := gguf.F32.Bytes(wide.Shape)
		if err != nil {
			t.Fatal(err)
		}
		wide.Size = size
		l.Tensors[i] = gguf.Source{Tensor: wide, From: func() (io.Reader, error) {
			data, err := io.ReadAll(f.Data(old.Tensor))
			if err != nil {
				return nil, err
			}
			w, err := quant.Floats(old.Type, data)
			var b bytes.Buffer
			return &b, errors.Join(err, binary.Write(&b, binary.LittleEndian, w))
		}}
	}
	wide := filepath.Join(t.TempDir(), "unpacked.gguf")
	if _, err := gguf.Write(t.Context(), wide, l, nil); err != nil {
		t.Fatal(err)
	}
	return wide
}

// startLlama gets llama.cpp ready. It tells the log no more than warnings.
func startLlama(t *testing.T) {
	t.Helper()
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	t.Cleanup(func() { slog.SetDefault(before) })
	llama.BackendInit()
}

// xla starts the backend that repair would.
func xla(t *testing.T) compute.Backend {
	t.Helper()
	b, err := repair.Open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("%v: run the tests with make", err)
	}
	return b
}

func tinyFile(t *testing.T, c tinymodel.Config) string {
	t.Helper()
	model, err := tinymodel.New(c)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if err := os.WriteFile(path, model, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// requireParity fails where the graph's logits are not near those of the model at path.
func requireParity(t *testing.T, graph [][][]float32, path string, sequences [][]int32) {
	t.Helper()
	if kl, agreement := distance(t, graph, path, sequences); !(kl < parityKL) || agreement < parityAgreement {
		t.Errorf("the graph is off by %.3g nats a token and agrees on %.2f%%", kl, 100*agreement)
	}
}

// distance tells how far the graph's logits are from those of llama.cpp for the model at
// path: KL divergence in nats a token, and share of tokens with the same top one.
func distance(t *testing.T, graph [][][]float32, path string, sequences [][]int32) (kl, agreement float64) {
	t.Helper()
	m := loadLlama(t, path)
	var largest, all float64
	for i, tokens := range sequences {
		for j, reference := range llamaLogits(t, m, tokens) {
			p, q := logProbs(reference), logProbs(graph[i][j])
			for v := range p {
				kl += math.Exp(p[v]) * (p[v] - q[v])
				largest = max(largest, math.Abs(p[v]-q[v]))
			}
			if best(p) == best(q) {
				agreement++
			}
			all++
		}
	}
	kl, agreement = kl/all, agreement/all
	t.Logf("%s: KL %.2g nats a token, top-1 %.2f%% of %.0f, largest difference of a log-probability %.2g", filepath.Base(path), kl, 100*agreement, all, largest)
	return kl, agreement
}

// graphLogits runs all sequences as one batch: [sequence][position][vocabulary].
func graphLogits(t *testing.T, b compute.Backend, path string, sequences [][]int32) (out [][][]float32) {
	t.Helper()
	f := openGGUF(t, path)
	n, err := repair.NewNetwork(f)
	if err != nil {
		t.Fatal(err)
	}
	layers := len(n.Layers)
	s, err := n.Read(f, repair.Part{To: layers, Embedding: true, Head: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := NewExec(b, func(in []*Node) *Node {
		w := s.In(in[3:])
		x := n.Blocks(w, 0, layers, n.Embed(w, in[0]), repair.Sequence{Segment: in[1], Position: in[2]}, repair.RecomputeNothing)
		return w.Output(n.Head(w, x))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Finalize()
	rows, length := len(sequences), len(sequences[0])
	tokens, segment, position := make([]int32, 0, rows*length), make([]int32, rows*length), make([]int32, rows*length)
	for i, sequence := range sequences {
		tokens = append(tokens, sequence...)
		for j := range length {
			segment[i*length+j], position[i*length+j] = 1, int32(j)
		}
	}
	args := []any{
		tensors.FromFlatDataAndDimensions(tokens, rows, length),
		tensors.FromFlatDataAndDimensions(segment, rows, length),
		tensors.FromFlatDataAndDimensions(position, rows, length),
	}
	for _, v := range s.Tensors() {
		args = append(args, v)
	}
	got, err := e.Call(args...)
	if err != nil {
		t.Fatal(err)
	}
	flat, err := tensors.CopyFlatData[float32](got[0])
	if err != nil {
		t.Fatal(err)
	}
	vocabulary := len(flat) / (rows * length)
	for range sequences {
		var logits [][]float32
		for range length {
			logits = append(logits, flat[:vocabulary])
			flat = flat[vocabulary:]
		}
		out = append(out, logits)
	}
	return out
}

func loadLlama(t *testing.T, path string) *llama.Model {
	t.Helper()
	m, err := llama.LoadModelFromFile(path, llama.ModelParams{UseMmap: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { llama.FreeModel(m) })
	return m
}

// llamaLogits runs one sequence from an empty context: [position][vocabulary].
func llamaLogits(t *testing.T, m *llama.Model, tokens []int32) (out [][]float32) {
	t.Helper()
	c, err := llama.NewContextWithModel(m, llama.NewContextParams(512, 512, 1, runtime.NumCPU(), ml.FlashAttentionDisabled, ""))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := llama.NewBatch(len(tokens), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Free()
	for i, token := range tokens {
		batch.Add(int(token), nil, i, true, 0)
	}
	if err := c.Decode(batch); err != nil {
		t.Fatal(err)
	}
	for i := range tokens {
		out = append(out, c.GetLogitsIth(i))
	}
	return out
}

func logProbs(logits []float32) []float64 {
	top, sum := math.Inf(-1), 0.0
	for _, x := range logits {
		top = max(top, float64(x))
	}
	for _, x := range logits {
		sum += math.Exp(float64(x) - top)
	}
	out := make([]float64, len(logits))
	for i, x := range logits {
		out[i] = float64(x) - top - math.Log(sum)
	}
	return out
}

func best(p []float64) (at int) {
	for i := range p {
		if p[i] > p[at] {
			at = i
		}
	}
	return at
}
