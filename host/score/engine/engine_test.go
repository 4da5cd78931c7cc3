package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ollama/ollama/llama"
	"github.com/ollama/ollama/ml"

	"pare/gguf/gguftest"
	"pare/host/score"
	"pare/integration/tinymodel"
	"pare/plugin"
)

func TestMain(m *testing.M) {
	if err := begin(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func tiny(t *testing.T, architecture string, seed uint64) string {
	t.Helper()
	b, err := tinymodel.New(tinymodel.Config{Architecture: architecture, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, b)
}

func write(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newTestEngine(t *testing.T) *engine {
	e := newEngine()
	t.Cleanup(e.close)
	return e
}

// random makes a sequence of n tokens, half of which are scored.
func random(seed uint64, n int) plugin.Sequence {
	r := rand.New(rand.NewPCG(seed, 0))
	s := plugin.Sequence{From: n / 2}
	for range n {
		s.Tokens = append(s.Tokens, int32(r.IntN(300)))
	}
	return s
}

// ask opens the variants and scores the sequences. One thread is enough for tiny
// models, and does not wait for another where tests share the cores.
func ask(e *engine, r score.Score) (out []plugin.Score, err error) {
	longest := 0
	for i := range r.Variants {
		r.Variants[i].Threads = 1
	}
	for _, s := range r.Sequences {
		longest = max(longest, len(s.Tokens))
	}
	if _, err := e.open(r.Variants, longest, false); err != nil {
		return nil, err
	}
	err = e.score(context.Background(), &r, func(s plugin.Score) error {
		out = append(out, s)
		return nil
	})
	return out, err
}

func mustAsk(t *testing.T, e *engine, r score.Score) []plugin.Score {
	t.Helper()
	out, err := ask(e, r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// distributions are the log-probabilities that llama.cpp gives for each next
// token of a text, by the definition, with nothing of this package.
func distributions(t *testing.T, path string, tokens []int32) (out [][]float64) {
	t.Helper()
	m, err := llama.LoadModelFromFile(path, llama.ModelParams{UseMmap: true})
	if err != nil {
		t.Fatal(err)
	}
	defer llama.FreeModel(m)
	c, err := llama.NewContextWithModel(m, llama.NewContextParams(1024, 1024, 1, 1, ml.FlashAttentionDisabled, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer freeContext(c)
	b, err := llama.NewBatch(len(tokens), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	for i, token := range tokens {
		b.Add(int(token), nil, i, true, 0)
	}
	if err := c.Decode(b); err != nil {
		t.Fatal(err)
	}
	for i := range tokens {
		logits := c.GetLogitsIth(i)
		sum := 0.0
		for _, x := range logits {
			sum += math.Exp(float64(x))
		}
		row := make([]float64, len(logits))
		for j, x := range logits {
			row[j] = float64(x) - math.Log(sum)
		}
		out = append(out, row)
	}
	return out
}

func largestDifference(a, b []float32) (d float64) {
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}

// TestDefinition holds log-probabilities, KL and agreement against their
// definitions, in float64, over llama.cpp's logits.
func TestDefinition(t *testing.T) {
	for _, arch := range tinymodel.Architectures {
		t.Run(arch, func(t *testing.T) {
			a, b, s := tiny(t, arch, 1), tiny(t, arch, 2), random(3, 700)
			got := mustAsk(t, newTestEngine(t), score.Score{Variants: []score.Model{{Path: a}, {Path: b}}, Sequences: []plugin.Sequence{s}, Compare: true})
			p, q := distributions(t, a, s.Tokens), distributions(t, b, s.Tokens)
			if len(got) != 2 || len(got[1].LogProb) != len(s.Tokens)-s.From || len(got[1].KL) != len(got[1].LogProb) || len(got[1].Agree) != len(got[1].LogProb) {
				t.Fatalf("%d scores, the second of %d tokens; want 2 of %d", len(got), len(got[1].LogProb), len(s.Tokens)-s.From)
			}
			for i := range got[0].LogProb {
				at := s.From + i
				kl := 0.0
				for j := range p[at-1] {
					kl += math.Exp(p[at-1][j]) * (p[at-1][j] - q[at-1][j])
				}
				near(t, at, "log-probability", float64(got[0].LogProb[i]), p[at-1][s.Tokens[at]])
				near(t, at, "log-probability by the second", float64(got[1].LogProb[i]), q[at-1][s.Tokens[at]])
				near(t, at, "KL", float64(got[1].KL[i]), kl)
				if want := best(p[at-1]) == best(q[at-1]); got[1].Agree[i] != want {
					t.Errorf("token %d: agreement is %v, want %v", at, got[1].Agree[i], want)
				}
			}
		})
	}
}

func near(t *testing.T, at int, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 2e-3 { // batches of other sizes round otherwise, in F16
		t.Errorf("token %d: %s is %.6f, want %.6f", at, what, got, want)
	}
}

func best(x []float64) int { return slices.Index(x, slices.Max(x)) }

// TestArithmetic has no model and no rounding but that of the arithmetic.
func TestArithmetic(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 7, 16, 33, 1024, 1031, 151_936} {
		x, y := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i], y[i] = float32(20*r.NormFloat64()), float32(20*r.NormFloat64())
		}
		p, q := readRow(x), readRow(y)
		lx, ly := logSum(x), logSum(y)
		kl := 0.0
		for i := range x {
			a, b := float64(x[i])-lx, float64(y[i])-ly
			kl += math.Exp(a) * (a - b)
		}
		if got, want := logProb(p, x, int32(n/2)), float64(x[n/2])-lx; math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
			t.Errorf("%d logits: log-probability %v, want %v", n, got, want)
		}
		if got := divergence(x, p, y, q); math.Abs(got-kl) > 1e-5*(1+kl) {
			t.Errorf("%d logits: KL %v, want %v", n, got, kl)
		}
		if got := divergence(x, p, x, p); got != 0 {
			t.Errorf("%d logits: KL from itself is %v", n, got)
		}
		if x[p.best] != slices.Max(x) {
			t.Errorf("%d logits: the largest is said to be number %d", n, p.best)
		}
	}
}

func logSum(x []float32) float64 {
	sum, top := 0.0, float64(slices.Max(x))
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

// TestNotFinite has logits that are no numbers: of the reference that is an error, of
// what is held against it, with layers left out or cut, a token that it could not have
// found less probable.
func TestNotFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for _, variant := range []score.Model{{Bypass: []int{1}}, {Path: "a cut file"}} {
			for _, at := range []int{0, 17, 39} {
				notFinite(t, bad, variant, at)
			}
		}
	}
}

func notFinite(t *testing.T, bad float32, variant score.Model, at int) {
	t.Helper()
	s := &scoring{Score: &score.Score{Variants: []score.Model{{Bypass: []int{2}}, variant}, Compare: true}}
	logits := [][]float32{make([]float32, 40), make([]float32, 40)}
	var reference, other plugin.Score
	if err := s.read(&reference, 0, 0, []int32{3, 4}, 8, logits); err != nil {
		t.Fatal(err)
	}
	logits[1][at] = bad
	if err := s.read(&other, 1, 0, []int32{3, 4}, 8, logits); err != nil {
		t.Fatal(err)
	}
	even := float32(-math.Log(40))
	if other.LogProb[0] != even || other.KL[0] != 0 || !other.Agree[0] || other.LogProb[1] != -100 || other.KL[1] != 100 || other.Agree[1] {
		t.Errorf("%v among logits: %+v", bad, other)
	}
	err := s.read(&reference, 0, 0, []int32{3, 4}, 8, logits)
	if plugin.KindOf(err) != plugin.Refused || !strings.Contains(err.Error(), "token 9 ") {
		t.Errorf("%v among logits of the reference: error %v, want one about token 9", bad, err)
	}
}

// TestNothingIsWorseThanBroken has a sound variant that is as wrong as can be.
func TestNothingIsWorseThanBroken(t *testing.T) {
	s := &scoring{Score: &score.Score{Variants: make([]score.Model, 2), Compare: true}}
	sure := func(token int) [][]float32 {
		logits := make([]float32, 40)
		logits[token] = 1000
		return [][]float32{logits}
	}
	var reference, wrong plugin.Score
	if err := errors.Join(s.read(&reference, 0, 0, []int32{3}, 8, sure(3)), s.read(&wrong, 1, 0, []int32{3}, 8, sure(4))); err != nil {
		t.Fatal(err)
	}
	if wrong.LogProb[0] != -100 || wrong.KL[0] != 100 || wrong.Agree[0] {
		t.Errorf("sure of another token: %+v", wrong)
	}
}

// TestNoLayers leaves out all layers, one model at a time and many tokens.
func TestNoLayers(t *testing.T) {
	for _, arch := range tinymodel.Architectures {
		path, all := tiny(t, arch, 1), []int{0, 1, 2, 3, 4, 5, 6, 7}
		got := mustAsk(t, newTestEngine(t), score.Score{Variants: []score.Model{{Path: path}, {Path: path, Bypass: all}}, Sequences: []plugin.Sequence{random(1, 700)}, Compare: true})
		for i, p := range got[1].LogProb {
			if p <= -broken || p > 0 || got[1].KL[i] >= broken {
				t.Fatalf("%s without any layer: log-probability %v and KL %v of token %d", arch, p, got[1].KL[i], i)
			}
		}
		if mean(got[1].KL) < 0.01 {
			t.Errorf("%s without any layer: the mean KL is %v", arch, mean(got[1].KL))
		}
	}
}

// TestSharedBeginning computes what sequences share once, to the same result.
func TestSharedBeginning(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	variants := []score.Model{{Path: path}, {Path: path, Bypass: []int{2, 3}}}
	stem := random(1, 600).Tokens
	var choices []plugin.Sequence
	for i := range 4 {
		tokens := slices.Concat(stem, random(uint64(10+i), 20).Tokens)
		choices = append(choices, plugin.Sequence{Tokens: tokens, From: len(stem)})
	}
	together := mustAsk(t, e, score.Score{Variants: variants, Sequences: choices, Compare: true})
	if len(together) != 8 || together[0].Computed != 619 || together[3].Computed > 21 || together[5].Computed > 21 {
		t.Errorf("%d scores; sequences of 620 tokens that share 600 took %d, %d, … tokens", len(together), together[0].Computed, together[3].Computed)
	}
	for i, choice := range choices {
		alone := mustAsk(t, e, score.Score{Variants: variants, Sequences: []plugin.Sequence{choice}, Compare: true})
		for v := range variants {
			got := together[v*len(choices)+i]
			if got.Sequence != i || got.Variant != v {
				t.Fatalf("score %d is of sequence %d by variant %d, want %d by %d", v*len(choices)+i, got.Sequence, got.Variant, i, v)
			}
			if d := largestDifference(got.LogProb, alone[v].LogProb); d > 1e-4 {
				t.Errorf("sequence %d by variant %d: log-probabilities differ by %v where the beginning was shared", i, v, d)
			}
			if d := largestDifference(got.KL, alone[v].KL); d > 1e-4 {
				t.Errorf("sequence %d by variant %d: KL differs by %v where the beginning was shared", i, v, d)
			}
		}
	}
}

// TestItself holds a model against itself, and against itself after another.
func TestItself(t *testing.T) {
	path, e := tiny(t, "qwen3", 1), newTestEngine(t)
	got := mustAsk(t, e, score.Score{
		Variants:  []score.Model{{Path: path}, {Path: path, Bypass: []int{1, 4, 5}}, {Path: path}},
		Sequences: []plugin.Sequence{random(1, 300), random(2, 900)},
		Compare:   true,
	})
	for i, s := range got {
		if i != s.Sequence*3+s.Variant {
			t.Fatalf("score %d is of sequence %d by variant %d", i, s.Sequence, s.Variant)
		}
		same := s.Variant != 1
		for j := range s.KL {
			if same && (s.KL[j] > 1e-6 || !s.Agree[j]) {
				t.Fatalf("sequence %d, token %d: a model has a KL of %v from itself, agreement %v", s.Sequence, j, s.KL[j], s.Agree[j])
			}
		}
		if !same && mean(s.KL) < 0.01 {
			t.Errorf("sequence %d: without three layers the mean KL is %v", s.Sequence, mean(s.KL))
		}
	}
}

func mean(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v)
	}
	return sum / float64(len(x))
}

// TestLittleRoom keeps fewer logits than a sequence has scored tokens.
func TestLittleRoom(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	r := score.Score{
		Variants:  []score.Model{{Path: path}, {Path: path, Bypass: []int{6}}},
		Sequences: []plugin.Sequence{random(1, 400), random(2, 100)},
		Compare:   true,
	}
	want := mustAsk(t, e, r)
	e.keep = 30 * 4 * e.models[path].handle.NumVocab()
	got := mustAsk(t, e, r)
	alone := r
	alone.Variants = r.Variants[:1]
	for _, one := range mustAsk(t, e, alone) {
		if whole := len(r.Sequences[one.Sequence].Tokens) - 1; one.Computed != whole {
			t.Errorf("%d of %d tokens computed by the only variant, of which no logits are kept", one.Computed, whole)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d scores, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Computed != want[i].Computed || got[i].Seconds <= 0 {
			t.Errorf("score %d: %d tokens computed in %v s, want %d", i, got[i].Computed, got[i].Seconds, want[i].Computed)
		}
		if len(got[i].LogProb) != len(want[i].LogProb) || len(got[i].KL) != len(want[i].KL) || got[i].Sequence != want[i].Sequence {
			t.Fatalf("score %d is of %d tokens of sequence %d, want %d of %d", i, len(got[i].LogProb), got[i].Sequence, len(want[i].LogProb), want[i].Sequence)
		}
		if d := max(largestDifference(got[i].LogProb, want[i].LogProb), largestDifference(got[i].KL, want[i].KL)); d > 1e-3 {
			t.Errorf("score %d differs by %v where it was made in pieces", i, d)
		}
	}
}

// TestGroups cuts at the room for kept logits, and where nothing is shared.
func TestGroups(t *testing.T) {
	alike := plugin.Sequence{Tokens: []int32{1, 2, 3, 4, 5, 6, 7, 8}, From: 5}
	other := plugin.Sequence{Tokens: []int32{1, 9, 9, 9, 9, 9, 9, 9}, From: 1}
	for _, c := range []struct {
		sequences []plugin.Sequence
		most      int // scored tokens
		want      string
	}{
		{[]plugin.Sequence{alike, alike, alike, other}, 100, "[[0 1 2] [3]]"},
		{[]plugin.Sequence{alike, alike, alike}, 6, "[[0 1] [2]]"},
		{[]plugin.Sequence{other}, 3, "[[0] [0] [0]]"},
		{[]plugin.Sequence{other, alike}, 10, "[[0] [1]]"},
	} {
		var got [][]int
		for _, g := range groups(c.sequences, c.most) {
			var members []int
			for _, p := range g {
				members = append(members, p.sequence)
			}
			got = append(got, members)
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%d sequences, %d tokens at most: groups %v, want %s", len(c.sequences), c.most, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	llamaPath, qwen, e := tiny(t, "llama", 1), tiny(t, "qwen2", 1), newTestEngine(t)
	unknown := gguftest.Builder{KVs: []gguftest.KV{
		{Key: "general.architecture", Value: "mllama"}, {Key: "mllama.block_count", Value: uint32(2)},
	}}.Bytes()
	half, err := os.ReadFile(llamaPath)
	if err != nil {
		t.Fatal(err)
	}
	half = half[:len(half)*3/4]
	one := []plugin.Sequence{random(1, 10)}
	only := func(m score.Model) []score.Model { return []score.Model{m} }
	for name, c := range map[string]struct {
		variants  []score.Model
		sequences []plugin.Sequence
		kind      plugin.Kind
		says      string
	}{
		"no file":        {only(score.Model{Path: "/no/such.gguf"}), one, plugin.Invalid, "no such file"},
		"no model":       {only(score.Model{Path: write(t, []byte("hello, I am text and no model"))}), one, plugin.Refused, "not a GGUF"},
		"architecture":   {only(score.Model{Path: write(t, unknown)}), one, plugin.Unsupported, "Ollama's own engine"},
		"half a file":    {only(score.Model{Path: write(t, half)}), one, plugin.Refused, "damaged"},
		"no such layer":  {only(score.Model{Path: llamaPath, Bypass: []int{3, 8}}), one, plugin.Invalid, "layers 0 to 7"},
		"unsorted":       {only(score.Model{Path: llamaPath, Bypass: []int{3, 2}}), one, plugin.Invalid, "ascending"},
		"no such token":  {only(score.Model{Path: llamaPath}), []plugin.Sequence{{Tokens: []int32{1, 5000}, From: 1}}, plugin.Invalid, "token 1 is 5000"},
		"negative token": {only(score.Model{Path: llamaPath}), []plugin.Sequence{{Tokens: []int32{1, -1}, From: 1}}, plugin.Invalid, "token 1 is -1"},
		"too long":       {only(score.Model{Path: llamaPath}), []plugin.Sequence{random(1, tinymodel.ContextLength+1)}, plugin.Invalid, "trained with 2048"},
		"vocabularies":   {[]score.Model{{Path: llamaPath}, {Path: qwen}}, one, plugin.Invalid, "different vocabularies"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ask(e, score.Score{Variants: c.variants, Sequences: c.sequences})
			if plugin.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("error %q of kind %d, want one of kind %d about %q", err, plugin.KindOf(err), c.kind, c.says)
			}
			if got := mustAsk(t, e, score.Score{Variants: only(score.Model{Path: llamaPath}), Sequences: one}); len(got) != 1 {
				t.Errorf("%d scores after it, want 1", len(got))
			}
		})
	}
}

// TestUnloadable tells what is to be done by llama.cpp's words.
func TestUnloadable(t *testing.T) {
	for reason, want := range map[string]plugin.Kind{
		"unable to allocate CUDA0 buffer":                                                 plugin.Unavailable,
		"mmap failed: Cannot allocate memory":                                             plugin.Unavailable,
		"tensor 'x' data is not within the file bounds, model is corrupted or incomplete": plugin.Refused,
		"failed to load model from /a.gguf":                                               plugin.Refused,
		"error loading model architecture: unknown model architecture: 'mllama'":          plugin.Unsupported,
		"error loading model vocabulary: unknown pre-tokenizer type: 'strange'":           plugin.Unsupported,
		"missing tensor 'blk.0.attn_norm.weight'":                                         plugin.Unsupported,
	} {
		err := file{path: "a.gguf"}.unloadable(reason)
		if plugin.KindOf(err) != want || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: error %v of kind %d, want kind %d", reason, err, plugin.KindOf(err), want)
		}
	}
}

// TestFlat scores 100,000 tokens by two variants, compared, and looks at the memory.
func TestFlat(t *testing.T) {
	path, e := tiny(t, "llama", 1), newTestEngine(t)
	variants := []score.Model{{Path: path}, {Path: path, Bypass: []int{3}}}
	var before int64
	for i, tokens := 0, 0; tokens < 100_000; i++ {
		got := mustAsk(t, e, score.Score{Variants: variants, Sequences: []plugin.Sequence{random(uint64(i), 256)}, Compare: true})
		tokens += got[0].Computed + got[1].Computed
		if i == 40 {
			before = resident(t)
		}
	}
	if after := resident(t); after > before+16<<20 {
		t.Errorf("%d MB after 20,000 tokens, %d MB after 100,000", before>>20, after>>20)
	}
}

func resident(t *testing.T) int64 {
	n, err := residentBytes()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
