package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ollama/ollama/fs/gguf"

	"pare/host/score"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// exact is a tiny model whose matrices are stored in F32.
func exact(t *testing.T, architecture string) []byte {
	t.Helper()
	b, err := tinymodel.New(tinymodel.Config{Architecture: architecture, Seed: 1, Float32: true})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tensor is what a model holds under a name, as stored.
func tensor(t *testing.T, model []byte, name string) []byte {
	t.Helper()
	g, err := gguf.Open(write(t, model))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	_, r, err := g.TensorReader(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// floats are the numbers of an F32 tensor.
func floats(t *testing.T, model []byte, name string) []float32 {
	t.Helper()
	b := tensor(t, model, name)
	out := make([]float32, len(b)/4)
	if _, err := binary.Decode(b, binary.LittleEndian, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// zeroed is a model in which a weight is 0 in every layer.
func zeroed(t *testing.T, model []byte, layers int, weight string) []byte {
	t.Helper()
	for l := range layers {
		w := tensor(t, model, strings.Replace("blk.N.", "N", strconv.Itoa(l), 1)+weight)
		if n := bytes.Count(model, w); n != 1 {
			t.Fatalf("%s of layer %d is found %d times", weight, l, n)
		}
		model = bytes.Replace(model, w, make([]byte, len(w)), 1)
	}
	return model
}

// layersOf is how many layers a tiny model of an architecture has.
func layersOf(t *testing.T, path string) int {
	t.Helper()
	f, err := readFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f.layers
}

// everywhere is every point of a model.
func everywhere(layers int) (points []plugin.Point) {
	for l := range layers {
		points = append(points, plugin.Point{Layer: l}, plugin.Point{Layer: l, Attended: true})
	}
	return append(points, plugin.Point{Layer: layers})
}

func observe(e *engine, o score.Observe) (out []plugin.Observation, err error) {
	longest := 0
	for _, s := range o.Sequences {
		longest = max(longest, len(s))
	}
	o.Model.Threads = 1
	if _, err := e.open([]score.Model{o.Model}, longest, false); err != nil {
		return nil, err
	}
	err = e.observe(context.Background(), &o, func(o plugin.Observation) error {
		out = append(out, o)
		return nil
	})
	return out, err
}

func mustObserve(t *testing.T, e *engine, o score.Observe) []plugin.Observation {
	t.Helper()
	out, err := observe(e, o)
	if err != nil {
		t.Fatal(err)
	}
	r := plugin.ObserveRequest{Sequences: o.Sequences, Points: o.Points, Top: o.Top}
	for _, one := range out {
		if hidden, err := one.Validate(r); err != nil || len(o.Points) > 0 && hidden != tinymodel.Hidden {
			t.Fatalf("%d wide: %v", hidden, err)
		}
	}
	if len(out) != len(o.Sequences) {
		t.Fatalf("%d observations of %d sequences", len(out), len(o.Sequences))
	}
	return out
}

// lensOf is what a model says where x is its last residual: log-probabilities.
func lensOf(norm, output, x []float32) []float64 {
	square := 0.0
	for _, v := range x {
		square += float64(v) * float64(v)
	}
	scale := 1 / math.Sqrt(square/float64(len(x))+1e-6)
	logits := make([]float64, len(output)/len(x))
	sum := 0.0
	for i := range logits {
		for j, v := range x {
			logits[i] += float64(v) * scale * float64(norm[j]) * float64(output[i*len(x)+j])
		}
		sum += math.Exp(logits[i])
	}
	for i := range logits {
		logits[i] -= math.Log(sum)
	}
	return logits
}

// TestObserveIsTheStream holds x_l against what the model says where it ends there:
// its layers from l on left out, it gives each token the probability that the final
// norm and the output make of x_l. x_0 is the embedding, and what is observed of
// some points is what is observed of all.
func TestObserveIsTheStream(t *testing.T) {
	for _, arch := range []string{"llama", "qwen3", "gemma3"} {
		t.Run(arch, func(t *testing.T) {
			model, e := exact(t, arch), newTestEngine(t)
			path, s := write(t, model), random(3, 700) // in two batches
			s.From = len(s.Tokens) - 5
			layers := layersOf(t, path)
			output := "token_embd.weight" // it is that, too
			if arch == "llama" {
				output = "output.weight"
			}
			norm, embeddings := floats(t, model, "output_norm.weight"), floats(t, model, "token_embd.weight")
			head := floats(t, model, output)
			all := mustObserve(t, e, score.Observe{Model: score.Model{Path: path}, Sequences: [][]int32{s.Tokens}, Points: everywhere(layers), Top: 3})[0]
			for l := 0; l <= layers; l += 2 {
				var out []int
				for k := l; k < layers; k++ {
					out = append(out, k)
				}
				got := mustAsk(t, e, score.Score{Variants: []score.Model{{Path: path, Bypass: out}}, Sequences: []plugin.Sequence{s}})[0]
				for i, p := range got.LogProb {
					at := s.From + i
					x := all.States[2*l][(at-1)*tinymodel.Hidden : at*tinymodel.Hidden]
					near(t, at, "log-probability by x_"+strconv.Itoa(l), lensOf(norm, head, x)[s.Tokens[at]], float64(p))
				}
				some := mustObserve(t, e, score.Observe{Model: score.Model{Path: path}, Sequences: [][]int32{s.Tokens}, Points: everywhere(layers)[2*l : 2*l+1]})[0]
				if d := largestDifference(some.States[0], all.States[2*l]); d > 1e-4 {
					t.Errorf("x_%d alone differs by %v", l, d)
				}
			}
			factor := all.States[0][0] / embeddings[int(s.Tokens[0])*tinymodel.Hidden]
			for i, token := range s.Tokens {
				for j := range tinymodel.Hidden {
					want := factor * embeddings[int(token)*tinymodel.Hidden+j]
					if got := all.States[0][i*tinymodel.Hidden+j]; math.Abs(float64(got-want)) > 1e-5 {
						t.Fatalf("x_0 of token %d is not its embedding: %v, want %v", i, got, want)
					}
				}
			}
			if want := map[string]float64{"gemma3": math.Sqrt(tinymodel.Hidden)}[arch]; math.Abs(float64(factor)-cmp.Or(want, 1)) > 1e-3 {
				t.Errorf("embeddings are multiplied by %v", factor)
			}
		})
	}
}

// TestObserveAttended takes away the feed-forward: then what comes out of attention
// goes into the next layer as it is. Without attention it is what came in.
func TestObserveAttended(t *testing.T) {
	for _, arch := range []string{"llama", "qwen2", "qwen3", "gemma3"} {
		for weight, equals := range map[string]int{"ffn_down.weight": 1, "attn_output.weight": -1, "attn_v.weight": 0} {
			model, e := exact(t, arch), newTestEngine(t)
			path := write(t, model)
			layers := layersOf(t, path)
			if equals != 0 {
				path = write(t, zeroed(t, model, layers, weight))
			}
			tokens := random(5, 530).Tokens
			got := mustObserve(t, e, score.Observe{Model: score.Model{Path: path}, Sequences: [][]int32{tokens}, Points: everywhere(layers)})[0]
			for i := 1; i < len(got.States); i += 2 {
				before, after := largestDifference(got.States[i], got.States[i-1]) == 0, largestDifference(got.States[i], got.States[i+1]) == 0
				if before != (equals < 0) || after != (equals > 0) {
					t.Errorf("%s without %s: behind the attention of layer %d it is what came in: %v; what goes out: %v", arch, weight, i/2, before, after)
				}
			}
		}
	}
}

// TestObserveTheMostLikely holds them against a sorted list of llama.cpp's own.
func TestObserveTheMostLikely(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	sequences := [][]int32{random(3, 700).Tokens, {7}, random(4, 30).Tokens}
	vocabulary := 0
	for _, top := range []int{1, 10} {
		for _, points := range [][]plugin.Point{nil, {{Layer: 3}}} {
			for i, got := range mustObserve(t, e, score.Observe{Model: score.Model{Path: path}, Sequences: sequences, Points: points, Top: top}) {
				if got.Sequence != i {
					t.Fatalf("observation %d is of sequence %d", i, got.Sequence)
				}
				for at, p := range distributions(t, path, sequences[i]) {
					sorted := slices.Clone(p)
					slices.Sort(sorted)
					slices.Reverse(sorted)
					vocabulary = len(p)
					for k := range top {
						near(t, at, "log-probability", float64(got.TopLogProb[at*top+k]), sorted[k])
						near(t, at, "log-probability of the token", p[got.TopTokens[at*top+k]], sorted[k])
					}
				}
			}
		}
	}
	all := mustObserve(t, e, score.Observe{Model: score.Model{Path: path}, Sequences: sequences[1:2], Top: vocabulary})[0]
	slices.Sort(all.TopTokens)
	for i, token := range all.TopTokens {
		if token != int32(i) {
			t.Fatalf("of all %d tokens, number %d is %d", vocabulary, i, token)
		}
	}
}

// TestLikeliest sorts rows with many equals.
func TestLikeliest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 15, 16, 17, 100, 5000} {
		for _, k := range []int{1, 2, 3, 16, 64, n} {
			if k > n {
				continue
			}
			for _, values := range []int{2, 30, 1 << 20} {
				x := make([]float32, n)
				order := make([]int32, n)
				for i := range x {
					x[i], order[i] = float32(r.IntN(values))/1000-5, int32(i)
				}
				slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(x[b], x[a]) })
				tokens, logProb, bad := likeliest([][]float32{x, x}, k)
				if bad != -1 || !slices.Equal(tokens, slices.Concat(order[:k], order[:k])) {
					t.Fatalf("%d of %d with %d values: %v, want %v twice", k, n, values, tokens, order[:k])
				}
				if want := float64(x[order[k-1]]) - logSum(x); math.Abs(float64(logProb[k-1])-want) > 1e-6*(1+math.Abs(want)) {
					t.Errorf("%d of %d: log-probability %v, want %v", k, n, logProb[k-1], want)
				}
			}
		}
	}
	if _, _, bad := likeliest([][]float32{{1, 2}, {1, float32(math.NaN())}}, 1); bad != 1 {
		t.Errorf("row %d is said not to be finite, want 1", bad)
	}
}

// TestObserveLeavesNothing has a score come out the same after an observation that
// ended passes early.
func TestObserveLeavesNothing(t *testing.T) {
	path, e, s := tiny(t, "llama", 1), newTestEngine(t), random(1, 600)
	r := score.Score{Variants: []score.Model{{Path: path}}, Sequences: []plugin.Sequence{s}}
	before := mustAsk(t, e, r)[0]
	mustObserve(t, e, score.Observe{Model: score.Model{Path: path}, Sequences: [][]int32{s.Tokens}, Points: []plugin.Point{{Layer: 2}}})
	g := score.Generation{Model: score.Model{Path: path}, Prompt: "the light", MaxTokens: 4, Continue: true}
	first, _ := answer(t, e, g)
	if second, _ := answer(t, newTestEngine(t), g); first.Text != second.Text {
		t.Errorf("it says %q after an observation, and %q without", first.Text, second.Text)
	}
	if after := mustAsk(t, e, r)[0]; after.Computed != before.Computed || largestDifference(after.LogProb, before.LogProb) > 0 {
		t.Errorf("%d tokens computed, log-probabilities differ by %v", after.Computed, largestDifference(after.LogProb, before.LogProb))
	}
}

func TestObserveRefuses(t *testing.T) {
	model := exact(t, "llama")
	path, e := write(t, model), newTestEngine(t)
	good, one := score.Model{Path: path}, []plugin.Point{{Layer: 1}}
	for name, c := range map[string]struct {
		request score.Observe
		kind    plugin.Kind
		says    string
	}{
		"no such layer":      {score.Observe{Model: good, Sequences: [][]int32{{1}}, Points: []plugin.Point{{Layer: 9}}}, plugin.Invalid, "layers 0 to 7, and x_8"},
		"attended behind it": {score.Observe{Model: good, Sequences: [][]int32{{1}}, Points: []plugin.Point{{Layer: 8, Attended: true}}}, plugin.Invalid, "layers 0 to 7, and x_8"},
		"too many likely":    {score.Observe{Model: good, Sequences: [][]int32{{1}}, Top: 10_000}, plugin.Invalid, "vocabulary"},
		"no such token":      {score.Observe{Model: good, Sequences: [][]int32{{1, 5000}}, First: 3, Points: one}, plugin.Invalid, "sequence 3: token 1 is 5000"},
		"too long":           {score.Observe{Model: good, Sequences: [][]int32{random(1, tinymodel.ContextLength+1).Tokens}, Points: one}, plugin.Invalid, "trained with 2048"},
		"nonsense said":      {score.Observe{Model: score.Model{Path: write(t, spoil(t, model))}, Sequences: [][]int32{{1}}, First: 2, Top: 1}, plugin.Refused, "sequence 2: the logits of token 0"},
		"nonsense computed":  {score.Observe{Model: score.Model{Path: write(t, nonsense(t, model))}, Sequences: [][]int32{{1, 2}}, Points: everywhere(8)}, plugin.Refused, "at layer 3 is not finite"},
	} {
		_, err := observe(e, c.request)
		if plugin.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %q of kind %d, want one of kind %d about %q", name, err, plugin.KindOf(err), c.kind, c.says)
		}
		mustObserve(t, e, score.Observe{Model: good, Sequences: [][]int32{{1}}, Points: one, Top: 1})
	}
}

// nonsense makes the norm of a model's fourth layer a list of NaN.
func nonsense(t *testing.T, model []byte) []byte {
	w := tensor(t, model, "blk.3.attn_norm.weight")
	return bytes.Replace(model, w, bytes.Repeat([]byte{0, 0, 0xC0, 0x7F}, len(w)/4), 1)
}

// TestObserveIsCancelled between two batches, over a line.
func TestObserveIsCancelled(t *testing.T) {
	l, m := dial(t), score.Model{Path: tiny(t, "llama", 1), Threads: 1}
	l.ask(score.Request{ID: 1, Open: &score.Open{Models: []score.Model{m}, Context: 512}}, func(score.Reply) {})
	many := &score.Observe{Model: m, Points: []plugin.Point{{Layer: 3}, {Layer: 8}}, Top: 5}
	for i := range 2000 {
		many.Sequences = append(many.Sequences, random(uint64(i), 512).Tokens)
	}
	seen := 0
	last := l.ask(score.Request{ID: 2, Observe: many}, func(r score.Reply) {
		if r.Observation == nil || r.Observation.Sequence != seen || len(r.Observation.Packed) != 2 {
			t.Errorf("reply %d is no observation of that sequence", seen)
		}
		if seen++; seen == 1 {
			l.requests.Encode(score.Request{ID: 2, Cancel: true})
		}
	})
	if last.Failure == nil || !last.Failure.Canceled || seen > 100 {
		t.Errorf("cancelled after one: %d observations, failure %+v", seen, last.Failure)
	}
	l.hangUp()
	<-l.ended
}
