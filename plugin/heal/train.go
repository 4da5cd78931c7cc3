package heal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
	"pare/repair"
)

// config turns settings into those of a training of the cut model.
func (p Patient) config(base string, n *repair.Network) (repair.Config, error) {
	r := p.Settings
	layers, first, err := p.span()
	if err != nil {
		return repair.Config{}, err
	}
	c := repair.Config{
		Base: base, Loss: r.Loss, Layers: layers, First: first,
		Targets: r.Targets, Rank: r.Rank, Alpha: r.Alpha, Dropout: r.Dropout, Bits: r.Bits,
		Steps: r.Steps, Batch: r.Batch, Accumulate: r.Accumulate, LearningRate: r.LearningRate,
		WarmUp: min(r.WarmUp, r.Steps-1), Clip: r.Clip, Seed: r.Seed, Recompute: repair.RecomputeFull,
	}
	switch r.Method {
	case plugin.RepairPartial:
		c.Dense, c.Head = true, r.Loss != plugin.LossHidden && n.OwnHead() != ""
	case plugin.RepairFull:
		c.Dense = true
	}
	return c, nil
}

// span are the layers of the cut model that a training changes, nil for all, and the
// first that it computes, which none of the removed ones stood before.
func (p Patient) span() (layers []int, first int, err error) {
	switch p.Settings.Method {
	case plugin.RepairPartial:
		left := p.Layers - len(p.Remove)
		for l := max(0, left-partialLayers); l < left; l++ {
			layers = append(layers, l)
		}
		// Behind the cut a layer's input is no longer what the uncut model has there.
		return layers, min(layers[0], max(0, p.Remove[0]-1)), nil
	case plugin.RepairFull:
		return nil, 0, nil
	}
	if layers, err = trained(p.Settings, p.Layers, p.Remove); err != nil {
		return nil, 0, err
	}
	return layers, layers[0], nil
}

// partialLayers is how many of the last layers a partial training changes.
const partialLayers = 2

// errNoMemory is in the tree of an error that means there is too little memory to train.
var errNoMemory = errors.New("too little memory")

// fits refuses a training that memory does not suffice for.
func (p Patient) fits(src *gguf.File) error {
	network, err := repair.NewNetwork(src)
	if err != nil {
		return err
	}
	c, err := p.config(p.Digest, network)
	if err != nil {
		return err
	}
	if err := c.Validate(network); err != nil {
		return plugin.Errorf(plugin.Invalid, "repair: %w", err)
	}
	need := func(c repair.Config) int64 { return p.need(network, src, c) }
	have := available()
	if have == 0 || need(c) <= have {
		return nil
	}
	hint := "repair it with linear, which takes little"
	smaller := c
	for smaller.Accumulate++; smaller.Accumulate <= c.Batch; smaller.Accumulate++ {
		if c.Batch%smaller.Accumulate == 0 && need(smaller) <= have {
			hint = fmt.Sprintf("with accumulate %d, which learns the same in smaller parts, it fits", smaller.Accumulate)
			break
		}
	}
	return &plugin.Error{Kind: plugin.Refused, Hint: hint,
		Err: fmt.Errorf("%w: training takes about %.1f GB, and %.1f GB are free", errNoMemory, float64(need(c))/1e9, float64(have)/1e9)}
}

// need is the memory, in bytes, that a training takes.
func (p Patient) need(n *repair.Network, src *gguf.File, c repair.Config) int64 {
	return repair.Estimate(n, src, c, p.Settings.Length, c.First == 0)
}

// recompute trades memory for time while a training takes less than a quarter of all
// memory. It goes by what is installed, not by what is free, so that a job that is
// taken up again computes the same numbers.
func (p Patient) recompute(n *repair.Network, src *gguf.File, c repair.Config) string {
	c.Recompute = repair.RecomputeSelective
	if p.need(n, src, c) <= installed()/4 {
		return repair.RecomputeSelective
	}
	return repair.RecomputeFull
}

// train trains what the last stage left and writes what came of it.
func (p Patient) train(ctx context.Context, rows material, h plugin.Host, event func(plugin.Event), result *Result) error {
	base := result.Last()
	src, err := gguf.Open(base.Path)
	if err != nil {
		return fmt.Errorf("read the model to train: %w", err)
	}
	defer src.Close()
	network, err := repair.NewNetwork(src)
	if err != nil {
		return err
	}
	c, err := p.config(base.Digest, network)
	if err != nil {
		return err
	}
	c.Recompute = p.recompute(network, src, c)
	event(plugin.Event{Stage: "observe", Status: "watching the whole model read what is learnt"})
	seen, held, err := p.observed(ctx, rows, c, result.beneath(), h, event)
	if err != nil {
		return err
	}
	defer seen.Close()
	defer held.Close()

	event(plugin.Event{Stage: "train", Status: "compiling", Total: int64(c.Steps)})
	debug.FreeOSMemory()
	forgetPeak()
	backend, err := repair.Open(slog.Default())
	if err != nil {
		return &plugin.Error{Kind: plugin.Unsupported, Err: err, Hint: "repair it with linear, which needs no XLA"}
	}
	defer backend.Finalize()
	t := school{Patient: p, backend: backend, network: network, src: src, from: base.Path, cfg: c, data: seen, held: held}
	folder := filepath.Join(p.Folder, trainingFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("keep checkpoints: %w", err)
	}
	trained, err := repair.Train(ctx, backend, t.network, src, c, seen, held, folder, func(s repair.Step) {
		event(plugin.Event{Stage: "train", Status: status("training", s), Completed: int64(s.Step), Total: int64(c.Steps)})
	})
	if err != nil && !errors.Is(err, repair.ErrNotHealed) {
		return err
	}
	result.Repaired.Training = training(trained)
	if trained.Best == 0 {
		result.note("training gained nothing on held-out text (%s); the model is as it was before it", cmp.Or(trained.Stopped, "it ran to its end"))
		return nil
	}
	if p.Settings.Adapter {
		return t.adapter(ctx, trained, event, result)
	}
	return t.merge(ctx, trained, event, result)
}

// observed are the examples of a training, of which an earlier try may have made some.
// What enters the lowest trained layer is what beneath has there.
func (p Patient) observed(ctx context.Context, rows material, c repair.Config, beneath Stage, h plugin.Host, event func(plugin.Event)) (seen, held *examples, err error) {
	hidden, err := p.hidden()
	if err != nil {
		return nil, nil, err
	}
	form := examplesForm{
		Digest: rows.digest + " of " + p.Model.Digest + " at " + fmt.Sprint(c.First) + beneath.Digest, Length: p.Settings.Length,
		Hidden: hidden, State: c.First > 0, Aim: c.Loss == plugin.LossHidden,
	}
	if c.Loss == plugin.LossDistill {
		form.Top = topTokens
	}
	looks := looks(p, form, c.First, plugin.Variant{Path: beneath.Path})
	wanted := min(len(rows.packed.Rows), c.Steps*c.Batch)
	rows.packed.Rows = rows.packed.Rows[:wanted]
	rows.packedHeld.Rows = rows.packedHeld.Rows[:min(len(rows.packedHeld.Rows), mostHeld)]
	meter := counter{event: event, stage: "observe", status: "watching the whole model read what is learnt"}
	for i := range rows.packed.Rows {
		meter.total += int64(filled(rows.packed, i))
	}
	for i := range rows.packedHeld.Rows {
		meter.total += int64(filled(rows.packedHeld, i))
	}
	if held, err = observe(ctx, p, heldFile, rows.packedHeld, form, looks, h, meter.add); err != nil {
		return nil, nil, err
	}
	if seen, err = observe(ctx, p, seenFile, rows.packed, form, looks, h, meter.add); err != nil {
		held.Close()
		return nil, nil, err
	}
	return seen, held, nil
}

// mostHeld bounds the rows by which a training is judged while it runs.
const mostHeld = 16

// hidden is the width of the residual stream.
func (p Patient) hidden() (int, error) {
	src, err := gguf.Open(p.Cut)
	if err != nil {
		return 0, fmt.Errorf("read the cut model: %w", err)
	}
	defer src.Close()
	n, err := convert.NetworkOf(src)
	return n.Hidden, err
}

// status says how a training goes. Step 0 has no loss of its own.
func status(doing string, s repair.Step) string {
	var parts []string
	if s.Step > 0 {
		parts = append(parts, fmt.Sprintf("loss %.3f", s.Loss))
	}
	if s.Held != nil {
		parts = append(parts, fmt.Sprintf("held out %.3f", *s.Held))
	}
	if s.Seconds > 0 {
		parts = append(parts, fmt.Sprintf("%.0f tokens/s", float64(s.Tokens)/s.Seconds))
	}
	if len(parts) == 0 {
		return doing
	}
	return doing + ": " + strings.Join(parts, ", ")
}

// training is what the report tells of it.
func training(t repair.Result) *plugin.Training {
	out := &plugin.Training{Trained: t.Trained, Tokens: t.Tokens, Best: t.Best, Stopped: t.Stopped, PeakMemory: peakMemory()}
	for _, s := range t.Curve {
		step := plugin.TrainedStep{Step: s.Step, Loss: s.Loss, Held: s.Held, Rate: s.Rate, Norm: s.Norm}
		if s.Seconds > 0 {
			step.Tokens = float64(s.Tokens) / s.Seconds
		}
		out.Curve = append(out.Curve, step)
		out.Seconds += s.Seconds
	}
	return out
}
