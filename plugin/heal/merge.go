package heal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute"

	"pare/convert"
	"pare/convert/quant"
	"pare/gguf"
	"pare/plugin"
	"pare/repair"
)

// A school is what a training works with.
type school struct {
	Patient
	backend    compute.Backend
	network    *repair.Network
	src        *gguf.File // that is trained
	from       string     // its path
	cfg        repair.Config
	data, held *examples
}

// Shares of the gain in held-out loss that must survive merging and rounding.
const (
	// With less, the scales of what was rounded are tuned.
	nearlyAll = 0.95

	// With less after that, the changed tensors are stored in a wider type. It makes
	// the file as large as one with more layers, so much must be at stake.
	enough = 0.5
)

// tuningRate is the learning rate of scales: that of adapters is too high for them.
const tuningRate = 3e-4

// Files of the merged model, before and after its scales are tuned.
const (
	mergedName = "repaired.gguf"
	tunedName  = "tuned.gguf"
)

// merge writes the trained changes into the model, each tensor in its own type if
// enough of the gain survives that.
func (t school) merge(ctx context.Context, trained repair.Result, event func(plugin.Event), result *Result) error {
	event(plugin.Event{Stage: "merge", Status: "measuring what rounding must spare"})
	var err error
	if t.cfg.Bits > 0 { // from here on the file's own numbers count, not what training made of them
		t.cfg.Bits = 0
		gain := trained.Before - trained.After
		if trained.Before, err = repair.HeldLoss(ctx, t.backend, t.network, t.src, t.cfg, t.held); err != nil {
			return err
		}
		trained.After = trained.Before - gain
	}
	cfg := convert.MergeConfig{Repair: t.said()}
	m, err := t.rounded(ctx, trained, cfg, event, result)
	if err != nil {
		return err
	}
	steps := 0
	if m.kept < nearlyAll && slices.ContainsFunc(trained.Changes, t.tunable) && t.room("tuning the scales of what was rounded", t.need(t.network, t.src, tuning(t.cfg)), result) {
		if m, steps, err = t.tune(ctx, m, trained, event); err != nil {
			return err
		}
	}
	promoted := map[string]gguf.TensorType(nil)
	if m.kept < enough {
		promoted = convert.Wider(t.src, trained.Changes)
	}
	if len(promoted) > 0 {
		result.note("rounding to the types of the file kept %.0f%% of what training gained: changed tensors are stored in %v", 100*m.kept, gguf.Q8_0)
		cfg.Promote, steps = promoted, 0
		if m, err = t.merged(ctx, mergedName, trained, cfg, "in wider types", event); err != nil {
			return err
		}
	}
	result.Stages = append(result.Stages, m.Stage)
	result.changed(len(trained.Changes), promoted)
	result.Repaired.Merge.Kept, result.Repaired.Merge.Tuned = m.kept, steps
	return nil
}

// rounded writes the trained changes so that rounding spares what counts, where that can
// be measured.
func (t school) rounded(ctx context.Context, trained repair.Result, cfg convert.MergeConfig, event func(plugin.Event), result *Result) (mergedFile, error) {
	inputs := t.network.InputBytes(t.cfg)
	if inputs <= mostInputs && t.room("measuring what rounding must spare", inputs+t.src.Size, result) {
		inputs, err := repair.Inputs(ctx, t.backend, t.network, t.src, t.cfg, t.data)
		if err != nil {
			return mergedFile{}, err
		}
		cfg.Moments = func(name string) *quant.Moments { return inputs[name] }
	}
	return t.merged(ctx, mergedName, trained, cfg, "rounding", event)
}

// mostInputs bounds the memory for what matrices multiply: of a model so wide there are
// too few tokens to tell.
const mostInputs = 4 << 30

// room reports whether memory suffices for something that can be left out, and notes if
// it does not.
func (t school) room(what string, bytes int64, result *Result) bool {
	have := available()
	if have == 0 || bytes <= have {
		return true
	}
	result.note("left out for want of memory: %s takes about %.1f GB, and %.1f GB are free", what, float64(bytes)/1e9, float64(have)/1e9)
	return false
}

// tunable reports whether the tensor that a change is of has scales to tune.
func (t school) tunable(c convert.Change) bool {
	stored, _ := t.src.Tensor(c.Name)
	block, _ := quant.Tunable(stored.Type)
	return block > 0
}

// A mergedFile is a model with what training changed.
type mergedFile struct {
	Stage
	kept float64 // share of the gain in held-out loss
}

// merged writes the trained changes into a file and measures what it keeps of them.
func (t school) merged(ctx context.Context, name string, trained repair.Result, cfg convert.MergeConfig, what string, event func(plugin.Event)) (mergedFile, error) {
	m := mergedFile{Stage: Stage{Name: StageTrain, Path: filepath.Join(t.Folder, name)}}
	var err error
	if m.Digest, err = write(ctx, t.from, m.Path, trained.Changes, cfg, what, event); err != nil {
		return m, err
	}
	f, err := gguf.Open(m.Path)
	if err != nil {
		return m, fmt.Errorf("read the merged model: %w", err)
	}
	defer f.Close()
	network, err := repair.NewNetwork(f) // a trained head may be new to it
	if err != nil {
		return m, err
	}
	loss, err := repair.HeldLoss(ctx, t.backend, network, f, t.cfg, t.held)
	m.kept = (trained.Before - loss) / (trained.Before - trained.After)
	return m, err
}

// tuning is c with scales to train instead.
func tuning(c repair.Config) repair.Config {
	c.Scales, c.Dense, c.Head = true, false, false
	return c
}

// tune trains the scales and minima of what was rounded until enough of the gain is back,
// for as many steps as the adapters had at most, or ten. It takes none of the rounding back: the
// error that rounding made all over a matrix is made good by numbers that are
// stored finely enough (PEQA, arXiv 2305.14152). It returns what came of it, or m if that is
// no better, and the steps that led there.
func (t school) tune(ctx context.Context, m mergedFile, trained repair.Result, event func(plugin.Event)) (mergedFile, int, error) {
	rounded, err := gguf.Open(m.Path)
	if err != nil {
		return m, 0, fmt.Errorf("read the merged model: %w", err)
	}
	defer rounded.Close()
	c := tuning(t.cfg)
	c.Base, c.Dropout = m.Digest, 0
	c.Steps = max(c.Steps, 10)
	c.WarmUp = c.Steps / 10
	c.Enough = trained.Before - nearlyAll*(trained.Before-trained.After)
	c.LearningRate, c.Check, c.Save = tuningRate, 0, 0
	folder := filepath.Join(t.Folder, trainingFolder, "scales")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return m, 0, fmt.Errorf("keep checkpoints: %w", err)
	}
	network, err := repair.NewNetwork(rounded)
	if err != nil {
		return m, 0, err
	}
	tuned, err := repair.Train(ctx, t.backend, network, rounded, c, t.data, t.held, folder, func(s repair.Step) {
		event(plugin.Event{Stage: "tune", Status: status("tuning scales", s), Completed: int64(s.Step), Total: int64(c.Steps)})
	})
	if errors.Is(err, repair.ErrNotHealed) {
		return m, 0, nil
	}
	if err != nil {
		return m, 0, err
	}
	better := t
	better.src, better.from = rounded, m.Path
	out, err := better.merged(ctx, tunedName, repair.Result{Before: trained.Before, After: trained.After, Changes: tuned.Changes},
		convert.MergeConfig{Repair: fmt.Sprintf("scales, %d steps", tuned.Best)}, "scales", event)
	if err != nil {
		return m, 0, err
	}
	os.Remove(m.Path)
	return out, tuned.Best, nil
}
