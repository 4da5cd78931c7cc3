package repair

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"pare/gguf"
	"pare/integration/tinymodel"
)

// examples is a Source in memory.
type examples []Example

func (e examples) Len() int                    { return len(e) }
func (e examples) Read(i int) (Example, error) { return e[i], nil }

const exampleTokens = 24

// llama is a tiny model of that architecture.
func llama(t *testing.T, layers int, seed uint64) (*Network, *gguf.File) {
	t.Helper()
	model, err := tinymodel.New(tinymodel.Config{Architecture: "llama", Layers: layers, Seed: seed, Float32: true})
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(bytes.NewReader(model), int64(len(model)))
	if err != nil {
		t.Fatal(err)
	}
	n, err := NewNetwork(f)
	if err != nil {
		t.Fatal(err)
	}
	return n, f
}

// tiny is a llama of four layers, and made-up examples for it: two documents each,
// whose tokens follow a pattern that can be learnt.
func tiny(t *testing.T, count int, state bool) (*Network, *gguf.File, examples) {
	t.Helper()
	n, f := llama(t, 4, 0)
	r := rand.New(rand.NewPCG(3, 4))
	var all examples
	for range count {
		e := example(r, n.Vocabulary)
		if state {
			e.State = noise(r, exampleTokens*n.Hidden, 1)
			e.Aim = noise(r, exampleTokens*n.Hidden, 1)
		}
		all = append(all, e)
	}
	return n, f, all
}

func example(r *rand.Rand, vocabulary int) (e Example) {
	token := int32(r.IntN(8))
	for i := range exampleTokens {
		document, at := int32(1), int32(i)
		if i >= 10 {
			document, at = 2, at-10
		}
		next := (token*3 + 1) % 8
		e.Tokens = append(e.Tokens, token)
		e.Segment = append(e.Segment, document)
		e.Position = append(e.Position, at)
		e.Target = append(e.Target, next)
		weight := float32(1)
		if i == 9 || i == exampleTokens-1 {
			weight = 0
		}
		e.Weight = append(e.Weight, weight)
		e.TopTokens = append(e.TopTokens, next, int32(8+r.IntN(vocabulary-8)))
		e.TopLogProb = append(e.TopLogProb, float32(math.Log(0.6)), float32(math.Log(0.3)))
		token = next
	}
	return e
}

func quick() Config {
	return Config{Rank: 4, Steps: 8, Batch: 4, LearningRate: 0.02, Check: 2, Save: 1, Seed: 5}
}

func train(t *testing.T, n *Network, f *gguf.File, c Config, data, held Source, folder string) (Result, error) {
	t.Helper()
	return Train(t.Context(), backend(t), n, f, c, data, held, folder, func(Step) {})
}

func TestTrainLowersTheLoss(t *testing.T) {
	for name, c := range map[string]struct {
		state  bool
		change func(*Config)
	}{
		"distillation":  {false, func(c *Config) {}},
		"next token":    {false, func(c *Config) { c.Loss = LossNext }},
		"dropout":       {false, func(c *Config) { c.Dropout = 0.1 }},
		"recomputed":    {false, func(c *Config) { c.Recompute = RecomputeFull }},
		"selectively":   {false, func(c *Config) { c.Recompute = RecomputeSelective }},
		"above the cut": {true, func(c *Config) { c.First = 2; c.Targets = TargetsFeedForward }},
		"hidden":        {true, func(c *Config) { c.First = 1; c.Loss = LossHidden }},
		"full":          {false, func(c *Config) { c.Dense, c.Rank = true, 0; c.LearningRate = 1e-3 }},
		"partial":       {true, func(c *Config) { c.First, c.Dense, c.Head = 3, true, true; c.LearningRate = 1e-3 }},
	} {
		t.Run(name, func(t *testing.T) {
			n, f, all := tiny(t, 8, c.state)
			config := quick()
			c.change(&config)
			r, err := train(t, n, f, config, all, all[:3], t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if !(r.After < 0.97*r.Before) {
				t.Errorf("held-out loss %g after training, %g before", r.After, r.Before)
			}
			holdChanges(t, n, config, r)
		})
	}
}

// holdChanges checks that there is a change for each matrix that was to be trained,
// and that each does something.
func holdChanges(t *testing.T, n *Network, c Config, r Result) {
	t.Helper()
	matrices := map[string]int{"": 7, TargetsFeedForward: 3}[c.Targets]
	want := matrices * (len(n.Layers) - c.First)
	if c.Head {
		want++
	}
	if len(r.Changes) != want {
		t.Errorf("%d changes, not %d", len(r.Changes), want)
	}
	var trained int64
	for _, change := range r.Changes {
		moved := change.B
		if c.Dense {
			moved = change.Dense
		}
		trained += int64(len(change.A) + len(moved))
		if len(moved) == 0 || slices.Max(moved) == slices.Min(moved) {
			t.Errorf("%s did not change", change.Name)
		}
	}
	if trained != r.Trained {
		t.Errorf("%d parameters trained, changes have %d", r.Trained, trained)
	}
}

// Training that is stopped after any step and taken up again ends with the same bytes.
func TestResumeIsExact(t *testing.T) {
	n, f, all := tiny(t, 7, false)
	c := quick()
	c.Dropout, c.Accumulate = 0.2, 2
	whole, err := train(t, n, f, c, all, all[:2], t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []int{1, 4, 7} {
		folder := t.TempDir()
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := Train(ctx, backend(t), n, f, c, all, all[:2], folder, func(s Step) {
			if s.Step == after+1 { // is lost: its checkpoint is not written
				cancel(errStop)
			}
		})
		if !errors.Is(err, errStop) && after < c.Steps-1 {
			t.Fatalf("stopped training returned %v", err)
		}
		again, err := train(t, n, f, c, all, all[:2], folder)
		if err != nil {
			t.Fatal(err)
		}
		if again.Resumed < after {
			t.Errorf("stopped after step %d, went on from %d", after, again.Resumed)
		}
		if !reflect.DeepEqual(again.Changes, whole.Changes) || !reflect.DeepEqual(losses(again), losses(whole)) {
			t.Errorf("stopped after step %d, training ended elsewhere: %v, not %v", after, losses(again), losses(whole))
		}
	}
}

var errStop = errors.New("stop")

func losses(r Result) (all []float64) {
	for _, s := range r.Curve {
		all = append(all, s.Loss, s.Norm)
		if s.Held != nil {
			all = append(all, *s.Held)
		}
	}
	return all
}

func TestForeignCheckpointsBeginAnew(t *testing.T) {
	n, f, all := tiny(t, 4, false)
	c := quick()
	c.Steps = 2
	folder := t.TempDir()
	path := filepath.Join(folder, checkpointName)
	first, err := train(t, n, f, c, all, nil, folder)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := train(t, n, f, c, all, nil, folder); err != nil || again.Resumed != 2 {
		t.Fatalf("a finished training was not kept: went on from %d, %v", again.Resumed, err)
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2]++
	for name, file := range map[string][]byte{"damaged": damaged, "short": whole[:len(whole)-40], "empty": nil, "a few bytes": whole[:25]} {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := train(t, n, f, c, all, nil, folder)
		if err != nil || r.Resumed != 0 || !reflect.DeepEqual(r.Changes, first.Changes) {
			t.Errorf("%s: went on from %d, %v", name, r.Resumed, err)
		}
	}
	c.Seed++
	if r, err := train(t, n, f, c, all, nil, folder); err != nil || r.Resumed != 0 {
		t.Errorf("another seed: went on from %d, %v", r.Resumed, err)
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v: only the newest checkpoint is kept", left, err)
	}
}

func TestAccumulationIsOneBatch(t *testing.T) {
	n, f, all := tiny(t, 4, false)
	all[1].Weight = slices.Concat(make([]float32, 20), all[1].Weight[20:]) // micro-batches of unequal weight
	var results []Result
	for _, parts := range []int{1, 2, 4} {
		c := quick()
		c.Steps, c.Accumulate = 2, parts
		r, err := train(t, n, f, c, all, nil, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	for _, r := range results[1:] {
		for i, s := range r.Curve {
			near(t, "loss", s.Loss, results[0].Curve[i].Loss, 1e-5)
			near(t, "norm", s.Norm, results[0].Curve[i].Norm, 1e-4)
		}
	}
}

// The gradient of the loss with respect to adapters, against finite differences.
func TestGradient(t *testing.T) {
	n, f, all := tiny(t, 2, false)
	for _, recompute := range []string{RecomputeNothing, RecomputeSelective, RecomputeFull} {
		c := quick()
		c.Batch, c.Recompute = 2, recompute
		tr, err := newTraining(backend(t), n, f, c, all, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.close()
		holdGradient(t, tr, all)
	}
}

// holdGradient checks at a point beside the start that along the gradient of some
// parameters the loss rises as steeply as the gradient is long.
func holdGradient(t *testing.T, tr *training, all examples) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	for _, p := range tr.parameters {
		setParameter(t, p, noise(r, p.values.Size(), 0.1))
	}
	scale := 1 / weight(all)
	out, err := tr.call(t.Context(), tr.learning, all, scale, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 12, 13, 27, 55} {
		length := norm(out[1+i : 2+i])
		near(t, "slope along "+tr.parameters[i].tensor+" "+tr.parameters[i].part, along(t, tr, i, out[1+i], length, all, scale)/length, 1, 2e-2)
	}
}

func setParameter(t *testing.T, p parameter, values []float32) {
	t.Helper()
	if err := tensors.AssignFlatData(p.values, values); err != nil {
		t.Fatal(err)
	}
}

// along is the slope of the loss when a parameter moves in a direction of that length.
func along(t *testing.T, tr *training, parameter int, direction []float32, length float64, all examples, scale float64) float64 {
	t.Helper()
	const by = 1.0 / 64
	p := tr.parameters[parameter]
	at := tensors.MustCopyFlatData[float32](p.values)
	var loss [2]float64
	for i, sign := range []float32{1, -1} {
		moved := slices.Clone(at)
		for j, d := range direction {
			moved[j] += sign * by * d / float32(length)
		}
		setParameter(t, p, moved)
		out, err := tr.call(t.Context(), tr.judging, all, scale, 0)
		if err != nil {
			t.Fatal(err)
		}
		loss[i] = float64(out[0][0])
	}
	setParameter(t, p, at)
	return (loss[0] - loss[1]) / (2 * by)
}

func TestTrainStopsEarly(t *testing.T) {
	n, f, all := tiny(t, 4, false)
	c := quick()
	c.Steps, c.Loss = 20, LossNext
	c.Dense, c.Head = true, true
	other := slices.Clone(all) // is learnt at the cost of what is held out
	for i, e := range other {
		e.Target = slices.Repeat([]int32{int32(200)}, exampleTokens)
		other[i] = e
	}
	r, err := train(t, n, f, c, other, all, t.TempDir())
	last := r.Curve[len(r.Curve)-1].Step
	if err != nil || !strings.Contains(r.Stopped, "has not fallen") || last != r.Best+3*c.Check {
		t.Errorf("a held-out loss that rises, %v, ended at step %d with %q, %v", losses(r), last, r.Stopped, err)
	}

	spoilt := slices.Clone(all)
	spoilt[2].TopLogProb = slices.Repeat([]float32{float32(math.NaN())}, 2*exampleTokens)
	c = quick()
	c.Batch, c.Seed = 1, seedWith(2, 3) // the fourth step meets it
	r, err = train(t, n, f, c, spoilt, all[:2], t.TempDir())
	if err != nil || r.Best != 2 || !strings.Contains(r.Stopped, "loss of step 4 is no number") {
		t.Errorf("a loss that is no number ended with %q, best of step %d, %v", r.Stopped, r.Best, err)
	}

	for i := range spoilt {
		spoilt[i].TopLogProb = spoilt[2].TopLogProb
	}
	if _, err := train(t, n, f, c, spoilt, all[:2], t.TempDir()); !errors.Is(err, ErrNotHealed) {
		t.Errorf("a loss that is no number at once: %v", err)
	}

	var d training
	d.Start, d.Step = 1, 5
	if d.diverged(Step{Step: 6, Loss: 2.9, Norm: 1}) != "" || d.diverged(Step{Step: 6, Loss: 3.1, Norm: 1}) == "" {
		t.Error("a loss is far above the first from three on, where the first was one")
	}
}

// seedWith is a seed that shuffles the example of four to that place.
func seedWith(example, place int) (seed int64) {
	for ; ; seed++ {
		if o := (order{examples: 4, seed: seed}); o.at(place) == example {
			return seed
		}
	}
}

// Where a loss is enough, training ends as soon as it is there, with what it has.
func TestTrainStopsWhenItIsEnough(t *testing.T) {
	n, f, all := tiny(t, 8, false)
	c := quick()
	whole, err := train(t, n, f, c, all, all[:3], t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c.Enough, c.Check = (whole.Before+whole.After)/2, 1
	r, err := train(t, n, f, c, all, all[:3], t.TempDir())
	if err != nil || !strings.Contains(r.Stopped, "was enough") || r.Best >= whole.Best || r.After > c.Enough || r.After >= r.Before {
		t.Errorf("stopped %q, best step %d of %d, loss %g, enough %g: %v", r.Stopped, r.Best, whole.Best, r.After, c.Enough, err)
	}
}

func TestTrainRefuses(t *testing.T) {
	n, f, all := tiny(t, 4, false)
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"rank 0":         {func(c *Config) { c.Rank = 0 }, "Rank is 0: give 1 to 32"},
		"rank too large": {func(c *Config) { c.Rank = 33 }, "Rank is 33: give 1 to 32"},
		"loss":           {func(c *Config) { c.Loss = "mse" }, "Loss is"},
		"targets":        {func(c *Config) { c.Targets = "mlp" }, "Targets is"},
		"layer":          {func(c *Config) { c.Layers = []int{4} }, "Layers has 4"},
		"first":          {func(c *Config) { c.First = 4 }, "First is 4"},
		"accumulate":     {func(c *Config) { c.Accumulate = 3 }, "Accumulate is 3"},
		"no residuals":   {func(c *Config) { c.First = 2 }, "no residuals for layer 2"},
		"warm-up":        {func(c *Config) { c.WarmUp = 8 }, "WarmUp is 8"},
	} {
		config := quick()
		c.change(&config)
		if _, err := train(t, n, f, config, all, nil, t.TempDir()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := train(t, n, f, quick(), examples{}, nil, t.TempDir()); err == nil {
		t.Error("no examples were enough to train")
	}
	all[1].Tokens = all[1].Tokens[1:]
	if _, err := train(t, n, f, quick(), all, nil, t.TempDir()); err == nil || !strings.Contains(err.Error(), "23 tokens, not 24") {
		t.Errorf("an example that is too short: %v", err)
	}
}

func TestOrder(t *testing.T) {
	o, again := order{examples: 5, seed: 1}, order{examples: 5, seed: 1}
	var all []int
	for i := range 10 {
		all = append(all, o.at(i))
	}
	if again.at(7) != all[7] {
		t.Error("the order depends on where one begins")
	}
	first, second := slices.Sorted(slices.Values(all[:5])), slices.Sorted(slices.Values(all[5:]))
	if !slices.Equal(first, []int{0, 1, 2, 3, 4}) || !slices.Equal(first, second) {
		t.Errorf("%v: an epoch is not each example once", all)
	}
	if slices.Equal(all[:5], all[5:]) {
		t.Errorf("%v: both epochs have the same order", all)
	}
}
