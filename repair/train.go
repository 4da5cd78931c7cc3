package repair

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"pare/gguf"
)

// ErrNotHealed is the answer to a training that made nothing better.
var ErrNotHealed = errors.New("training did not lower the loss on held-out text: give more text or another learning rate")

// A Step is a point of a training's curve.
type Step struct {
	Step    int      `json:"step"`               // from 1; 0 is before training
	Loss    float64  `json:"loss"`               // 0 at step 0, where only the held-out loss is measured
	Held    *float64 `json:"held_out,omitempty"` // loss on what is not trained on, where it was measured after this step
	Rate    float64  `json:"learning_rate"`
	Norm    float64  `json:"gradient_norm"` // before it is clipped
	Tokens  int64    `json:"tokens"`        // of the step, without padding
	Seconds float64  `json:"seconds"`       // for the step, without the measurement of the held-out loss
}

// Train trains the model f, of network n, on data, and returns the changes that do
// best on held, which may be nil. Every cfg.Save steps it leaves a checkpoint in the
// folder; called again with the same arguments it goes on from there, and ends with
// the same bytes as if it had never stopped. A loss or gradient that is no number, a
// loss far above the first, or a held-out loss that falls no more ends it early, with
// the best there was. ErrNotHealed is the error if that is what it began with.
func Train(ctx context.Context, b compute.Backend, n *Network, f *gguf.File, cfg Config, data, held Source, folder string, progress func(Step)) (Result, error) {
	t, err := newTraining(b, n, f, cfg, data, held)
	if err != nil {
		return Result{}, fmt.Errorf("prepare training: %w", err)
	}
	defer t.close()
	t.folder, t.progress = folder, progress
	resumed, err := t.resume(folder)
	if err != nil {
		return Result{}, fmt.Errorf("go on with training: %w", err)
	}
	if err := t.run(ctx); err != nil {
		return Result{}, fmt.Errorf("train, step %d: %w", t.Step+1, err)
	}
	r := t.result()
	r.Resumed = resumed
	if held != nil && r.Best == 0 {
		return r, fmt.Errorf("train: %w (%.4g before, %d steps)", ErrNotHealed, r.Before, t.Step)
	}
	return r, nil
}

// A training is a student with what it learns from, and how far it has come.
type training struct {
	*student
	checkpoint
	backend    compute.Backend
	data, held Source
	shape      shape
	order      order
	folder     string
	progress   func(Step)
	learning   *Exec // of student.learn
	judging    *Exec // of student.judge
}

func newTraining(b compute.Backend, n *Network, f *gguf.File, cfg Config, data, held Source) (*training, error) {
	if err := cfg.Validate(n); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults(n)
	if length(data) == 0 {
		return nil, errors.New("there is nothing to learn from: give more text")
	}
	first, err := data.Read(0)
	if err != nil {
		return nil, fmt.Errorf("read example 0: %w", err)
	}
	t := &training{backend: b, data: data, order: order{examples: length(data), seed: cfg.Seed}}
	if length(held) > 0 {
		t.held = held
	}
	if t.shape, err = shapeOf(first, cfg); err != nil {
		return nil, fmt.Errorf("read example 0: %w", err)
	}
	if t.Asked, err = asked(n, cfg, data, t.held); err != nil {
		return nil, err
	}
	if t.student, err = newStudent(n, f, cfg, t.shape.embeds); err != nil {
		return nil, err
	}
	if err := t.begin(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// length is the number of a source's examples; nil has none.
func length(s Source) int {
	if s == nil {
		return 0
	}
	return s.Len()
}

// The places of a parameter's numbers in checkpoint.values.
const (
	valueAt = iota
	firstAt
	secondAt
	bestAt
	valuesOf // how many there are
)

// begin sets the student to what it is before the first step.
func (t *training) begin() (err error) {
	for _, p := range t.parameters {
		values, err := tensors.CopyFlatData[float32](p.values)
		if err != nil {
			return err
		}
		var best []float32
		if t.held != nil {
			best = make([]float32, len(values))
		}
		t.values = append(t.values, values, make([]float32, len(values)), make([]float32, len(values)), best)
	}
	t.learning, err = NewExec(t.backend, t.learn)
	if err == nil {
		t.judging, err = NewExec(t.backend, t.judge)
	}
	return err
}

// resume goes on from the checkpoint in a folder, if there is one, and returns its step.
func (t *training) resume(folder string) (int, error) {
	if !t.load(folder) {
		return 0, nil
	}
	for i, p := range t.parameters {
		if err := tensors.AssignFlatData(p.values, t.values[valuesOf*i+valueAt]); err != nil {
			return 0, err
		}
	}
	return t.Step, nil
}

// run takes step after step to the last, or to where going on makes no sense.
func (t *training) run(ctx context.Context) error {
	if t.held != nil && t.Step == 0 && len(t.Curve) == 0 {
		if err := t.measure(ctx, &Step{}); err != nil {
			return err
		}
	}
	for t.Step < t.cfg.Steps && t.Stopped == "" {
		step := Step{Step: t.Step + 1, Rate: t.cfg.rate(t.Step)}
		if err := t.step(ctx, &step); err != nil {
			return err
		}
		if t.Stopped != "" {
			break
		}
		t.Step++
		last := t.Step == t.cfg.Steps
		if t.held != nil && (last || t.Step%t.cfg.Check == 0) {
			if err := t.measure(ctx, &step); err != nil {
				return err
			}
		} else {
			t.tell(step)
		}
		if !last && t.Stopped == "" && t.Step%t.cfg.Save == 0 {
			if err := t.save(t.folder); err != nil {
				return err
			}
		}
	}
	return t.save(t.folder)
}

// tell adds a step to the curve.
func (t *training) tell(step Step) {
	t.Curve = append(t.Curve, step)
	t.progress(step)
}

// step computes the gradient of a batch and moves the parameters against it.
func (t *training) step(ctx context.Context, step *Step) error {
	began := time.Now()
	gradients, err := t.gradient(ctx, step)
	if err != nil {
		return err
	}
	step.Norm = norm(gradients)
	if t.Stopped = t.diverged(*step); t.Stopped != "" {
		return nil
	}
	scale := clip(step.Norm, t.cfg.Clip)
	for i, p := range t.parameters {
		values := t.values[valuesOf*i:]
		moments := moments{values[firstAt], values[secondAt]}
		moments.update(values[valueAt], gradients[i], scale, step.Step, step.Rate, t.cfg.Decay)
		if err := tensors.AssignFlatData(p.values, values[valueAt]); err != nil {
			return err
		}
	}
	t.Tokens += step.Tokens
	step.Seconds = time.Since(began).Seconds()
	return nil
}

// gradient sums up the loss and the gradients of a step's micro-batches.
func (t *training) gradient(ctx context.Context, step *Step) (sum [][]float32, err error) {
	examples, err := t.order.read(t.data, t.Step, t.cfg.Batch)
	if err != nil {
		return nil, err
	}
	scale := 0.0 // where nothing is to be learnt
	if w := weight(examples); w > 0 {
		scale = 1 / w
	}
	size := t.cfg.Batch / t.cfg.Accumulate
	for micro := range t.cfg.Accumulate {
		some := examples[micro*size : (micro+1)*size]
		step.Tokens += tokens(some)
		outputs, err := t.call(ctx, t.learning, some, scale, dropoutSeed(t.cfg.Seed, t.Step, micro))
		if err != nil {
			return nil, err
		}
		step.Loss += float64(outputs[0][0])
		if sum == nil {
			sum = outputs[1:]
			continue
		}
		for i, g := range outputs[1:] {
			for j, x := range g {
				sum[i][j] += x
			}
		}
	}
	return sum, nil
}

// tokens counts those of examples that are no padding.
func tokens(examples []Example) (n int64) {
	for _, e := range examples {
		for _, segment := range e.Segment {
			if segment != 0 {
				n++
			}
		}
	}
	return n
}

// call runs a graph on a micro-batch and returns copies of its outputs.
func (t *training) call(ctx context.Context, graph *Exec, examples []Example, scale float64, seed uint32) ([][]float32, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	for _, e := range examples {
		if err := t.shape.check(e, t.network, t.cfg); err != nil {
			return nil, fmt.Errorf("read example: %w", err)
		}
	}
	var args []any
	for _, v := range t.inputs() {
		args = append(args, v)
	}
	batch := t.batch(examples, scale, seed)
	for _, v := range batch {
		args = append(args, v)
		defer v.FinalizeAll()
	}
	results, err := graph.Call(args...)
	if err != nil {
		return nil, err
	}
	out := make([][]float32, len(results))
	for i, r := range results {
		if out[i], err = tensors.CopyFlatData[float32](r); err != nil {
			return nil, err
		}
		if err := r.FinalizeAll(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// diverged says why a step is not to be taken, or "".
func (t *training) diverged(s Step) string {
	switch {
	case !finite(s.Loss):
		return fmt.Sprintf("the loss of step %d is no number", s.Step)
	case !finite(s.Norm):
		return fmt.Sprintf("the gradient of step %d is no number", s.Step)
	case t.Step == 0:
		t.Start = s.Loss
	case s.Loss > 2*t.Start+1:
		return fmt.Sprintf("the loss rose to %.3g at step %d, from %.3g at the first", s.Loss, s.Step, t.Start)
	}
	return ""
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// measure computes the held-out loss after a step, keeps the parameters if they are
// the best so far, and says when to stop.
func (t *training) measure(ctx context.Context, step *Step) error {
	loss, err := t.heldLoss(ctx)
	if err != nil {
		return err
	}
	if !finite(loss) {
		t.Stopped = fmt.Sprintf("the held-out loss after step %d is no number", step.Step)
		return nil
	}
	step.Held = &loss
	t.tell(*step)
	if step.Step > 0 && loss >= t.Lowest {
		if t.Worse++; t.Worse >= t.cfg.Patience && t.Step < t.cfg.Steps {
			t.Stopped = fmt.Sprintf("the held-out loss has not fallen below %.4g since step %d", t.Lowest, t.Best)
		}
		return nil
	}
	t.Best, t.Lowest, t.Worse = step.Step, loss, 0
	for i := range t.parameters {
		copy(t.values[valuesOf*i+bestAt], t.values[valuesOf*i+valueAt])
	}
	if loss <= t.cfg.Enough && t.Step < t.cfg.Steps {
		t.Stopped = fmt.Sprintf("the held-out loss fell to %.4g, and %.4g was enough", loss, t.cfg.Enough)
	}
	return nil
}

// heldLoss is the mean loss over what is held out, a micro-batch at a time.
func (t *training) heldLoss(ctx context.Context) (float64, error) {
	var sum, weights float64
	size := t.cfg.Batch / t.cfg.Accumulate
	for from := 0; from < t.held.Len(); from += size {
		examples := make([]Example, size)
		for i := range examples {
			at := min(from+i, t.held.Len()-1)
			e, err := t.held.Read(at)
			if err != nil {
				return 0, fmt.Errorf("read held-out example %d: %w", at, err)
			}
			if from+i > at {
				e.Weight = make([]float32, len(e.Weight)) // fills the last batch up
			}
			examples[i] = e
		}
		outputs, err := t.call(ctx, t.judging, examples, 1, 0)
		if err != nil {
			return 0, err
		}
		sum += float64(outputs[0][0])
		weights += weight(examples)
	}
	return sum / max(weights, math.SmallestNonzeroFloat32), nil
}

// close frees what is on the device.
func (t *training) close() error {
	for _, e := range []*Exec{t.learning, t.judging} {
		if e != nil {
			e.Finalize()
		}
	}
	return t.student.close()
}
