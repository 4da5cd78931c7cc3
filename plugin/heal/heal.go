// Package heal repairs a model that lost layers: it gathers what to learn from,
// has the uncut model show what it computes there, and leaves a healed GGUF.
//
//	settings.go  what is done, by the share of layers removed
//	answers.go   what the uncut model writes, to learn from
//	material.go  texts and answers as rows of tokens
//	observe.go   what the uncut model computes on them; examples.go keeps it
//	quantize.go  the cut model in smaller types, if that was asked for
//	widen.go     and in types that can be changed, where they are none
//	linear.go    the closed form at each cut
//	train.go     training over what that leaves
//	merge.go     what training changed, rounded to the types of the file
//	adapter.go   or what it changed, in a file of its own
//	emit.go      changes into files
//	kept.go      how far a job came, for when it is asked for again
//
// The mathematics is in package repair, the files are package convert's.
package heal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
	"pare/plugin/lessons"
	"pare/repair"
)

// A Patient is a cut model to be healed.
type Patient struct {
	Model    plugin.Model // the uncut one
	Layers   int          // that it has
	Remove   []int        // that the cut one lost, ascending
	Cut      string       // path of the cut GGUF
	Digest   string       // of it
	Settings plugin.Repair
	Folder   string                 // of the job: work files and the healed GGUF
	Kept     string                 // of the uncut model: what serves later jobs too
	Unfit    func(text string) bool // reports text that will be scored, and must not be learnt from
	Learnt   func([]string) error   // is told what a user's texts were learnt from, before they are; never to be scored from then on
	Version  string                 // of Pare
}

// A Stage is a model on the way, from the cut one to the healed one.
type Stage struct {
	Name   string `json:"name"` // "cut", "quantized", "widened", "closed form" or "trained"
	Path   string `json:"path"`
	Digest string `json:"digest"`
}

// Names of stages.
const (
	StageCut      = "cut"
	StageQuantize = "quantized"
	StageWiden    = "widened"
	StageLinear   = "closed form"
	StageTrain    = "trained"
)

// Result is what a repair leaves. The last stage is the healed model.
type Result struct {
	Repaired plugin.Repaired `json:"repaired"` // without Stages: nothing was scored
	Stages   []Stage         `json:"stages"`
	Asked    string          `json:"asked"`   // digest of what it was made from
	Adapter  plugin.File     `json:"adapter"` // what the last stage has beyond the one before it, if that was asked for
	Whole    bool            `json:"whole"`   // nothing is left to do
}

// Kept is the stage that the healed model's file is of: the last one, or that which the
// adapter is for.
func (r *Result) Kept() Stage {
	if r.Adapter.Path != "" {
		return r.Stages[len(r.Stages)-2]
	}
	return r.Last()
}

// Last is the healed model.
func (r *Result) Last() Stage { return r.Stages[len(r.Stages)-1] }

// beneath is the model that has the layers below the cut as the result has them; the zero
// Stage for the uncut model itself.
func (r *Result) beneath() Stage {
	if i := slices.IndexFunc(r.Stages, func(s Stage) bool { return s.Name == StageQuantize }); i >= 0 {
		return r.Stages[i]
	}
	return Stage{}
}

// TakeBack leaves of a repair that came to nothing what stands without it: the cut model,
// in smaller types if it was to be.
func (r *Result) TakeBack() error {
	settings := r.Repaired.Settings
	settings.Method = plugin.RepairNone
	r.Repaired = plugin.Repaired{Settings: settings}
	var errs []error
	r.Stages = slices.DeleteFunc(r.Stages, func(s Stage) bool {
		if s.Name == StageCut || s.Name == StageQuantize {
			return false
		}
		errs = append(errs, os.Remove(s.Path))
		return true
	})
	return errors.Join(errs...)
}

// Remove deletes the files of all stages, and in the job's folder what they were made
// from.
func (r *Result) Remove() error {
	var errs []error
	for _, s := range r.Stages {
		if err := os.Remove(s.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, work := range workFiles {
			errs = append(errs, os.RemoveAll(filepath.Join(filepath.Dir(s.Path), work)))
		}
	}
	return errors.Join(errs...)
}

// workFiles are what a training leaves in a job's folder.
var workFiles = []string{seenFile, seenFile + ".json", heldFile, heldFile + ".json", trainingFolder, mergedName, tunedName, adapterName}

const (
	seenFile       = "examples.bin"
	heldFile       = "held.bin"
	trainingFolder = "training"
)

// Heal repairs a model. Called again with the same patient it goes on where it was
// stopped; files of finished stages are found again by their digests.
func Heal(ctx context.Context, p Patient, h plugin.Host, event func(plugin.Event)) (Result, error) {
	byDefault := leavesOpen(p.Settings)
	settings, err := Settings(p.Settings, p.Layers, len(p.Remove))
	if err != nil {
		return Result{}, err
	}
	p.Settings = settings
	result := Result{
		Repaired: plugin.Repaired{Settings: settings},
		Stages:   []Stage{{StageCut, p.Cut, p.Digest}},
		Asked:    p.asked(),
	}
	if settings.Method == plugin.RepairNone && settings.Quantize == "" {
		return result, nil
	}
	kept, known := p.earlier(result.Asked)
	if known && kept.Whole {
		return kept, nil
	}
	if known { // on with it as it was begun
		result, p.Settings.Method = kept, kept.Repaired.Settings.Method
	} else if settings.Quantize != "" {
		if err := p.quantize(ctx, event, &result); err != nil {
			return result, err
		}
	}
	if settings.Method == plugin.RepairNone {
		result.Whole = true
		return result, p.keep(result)
	}
	err = p.check(result.Last().Path)
	switch {
	case err == nil:
	case known && errors.Is(err, errNoMemory):
		return result, &plugin.Error{Kind: plugin.Unavailable, Err: err, Hint: "make room and ask again: the job goes on from here"}
	case byDefault && (errors.Is(err, convert.ErrNoNetwork) || errors.Is(err, errNoMemory)):
		result.note("closed form alone: %v", err)
		p.Settings.Method = plugin.RepairLinear
		result.Repaired.Settings.Method = plugin.RepairLinear
		err = p.check(result.Last().Path)
	}
	if err != nil {
		return result, err
	}
	rows, err := gather(ctx, p, h, event)
	if err != nil {
		return result, err
	}
	result.Repaired.Data = rows.corpora
	if p.Settings.Data.Path != "" {
		if err := p.Learnt(rows.texts); err != nil {
			return result, err
		}
	}
	if !known {
		if err := p.prepare(ctx, rows, h, event, &result); err != nil {
			return result, err
		}
	}
	if trains(p.Settings.Method) {
		err := p.train(ctx, rows, h, event, &result)
		if byDefault && errors.Is(err, repair.ErrNoBackend) && result.Last().Name == StageLinear {
			result.note("closed form alone: %v", err)
			err = nil
		}
		if err != nil {
			return result, err
		}
	}
	result.Whole = true
	return result, p.keep(result)
}

// leavesOpen reports whether the closed form alone will do where no training is possible.
func leavesOpen(r plugin.Repair) bool { return r.Method == "" && !r.Adapter }

// prepare does what comes before a training.
func (p Patient) prepare(ctx context.Context, rows material, h plugin.Host, event func(plugin.Event), result *Result) error {
	if err := p.widen(ctx, h, event, result); err != nil {
		return err
	}
	if linear(p.Settings.Method) {
		if err := p.linear(ctx, rows, h, event, result); err != nil {
			return err
		}
	}
	return p.keep(*result)
}

func (r *Result) note(format string, args ...any) {
	r.Repaired.Notes = append(r.Repaired.Notes, fmt.Sprintf(format, args...))
}

// changed counts tensors that a stage changed, and notes those that it stored wider.
func (r *Result) changed(tensors int, wider map[string]gguf.TensorType) {
	if r.Repaired.Merge == nil {
		r.Repaired.Merge = &plugin.Merge{}
	}
	m := r.Repaired.Merge
	m.Tensors += tensors
	for _, name := range slices.Sorted(maps.Keys(wider)) {
		m.Promoted = append(m.Promoted, fmt.Sprintf("%s to %v", name, wider[name]))
	}
}

// Check refuses what can never be done, given the uncut model's file, before anything
// is cut. Of a patient it needs all but the cut model.
func Check(p Patient, src *gguf.File) error {
	byDefault := leavesOpen(p.Settings)
	settings, err := Settings(p.Settings, p.Layers, len(p.Remove))
	if err != nil {
		return err
	}
	p.Settings = settings
	if settings.Method != plugin.RepairNone && settings.Data.Path != "" {
		if err := p.readable(); err != nil {
			return err
		}
	}
	if settings.Quantize != "" {
		if err := convert.CheckQuantize(src, settings.Quantize); err != nil {
			return quantizeError(err)
		}
	}
	if !trains(settings.Method) {
		return nil
	}
	network, err := repair.NewNetwork(src)
	if err != nil && byDefault {
		return nil
	}
	if err != nil {
		return &plugin.Error{Kind: plugin.Refused, Err: err, Hint: "repair it with linear, or none"}
	}
	c, err := p.config(p.Model.Digest, network)
	if err != nil {
		return err
	}
	if err := c.Validate(network); err != nil {
		return plugin.Errorf(plugin.Invalid, "repair: %w", err)
	}
	return nil
}

// readable reports whether there is something to learn from in a user's file.
func (p Patient) readable() error {
	name, data, err := readFile(p.Settings.Data)
	if err != nil {
		return err
	}
	all, err := lessons.Parse(name, data)
	if err == nil {
		_, err = lessons.Split(all, heldShare, p.Unfit)
	}
	if err != nil {
		return plugin.Errorf(plugin.Invalid, "repair: %w", err)
	}
	return nil
}

// check refuses what cannot be done with a file, before anything is learnt.
func (p Patient) check(path string) error {
	src, err := gguf.Open(path)
	if err != nil {
		return fmt.Errorf("read the cut model: %w", err)
	}
	defer src.Close()
	if p.Settings.Method == plugin.RepairLinear {
		if err := p.foldable(src); err != nil {
			return err
		}
	}
	if trains(p.Settings.Method) {
		if _, err := convert.NetworkOf(src); err != nil {
			return &plugin.Error{Kind: plugin.Refused, Err: err, Hint: "repair it with linear, or none"}
		}
		return p.fits(src)
	}
	return nil
}

// foldable reports whether the closed form can be written into the layer before each
// cut.
func (p Patient) foldable(src *gguf.File) error {
	for _, run := range runs(p.Remove) {
		if run[0] == 0 {
			return plugin.Errorf(plugin.Refused, "closed-form repair needs a layer before the cut, and layer 0 is cut; repair it with qlora, or cut other layers")
		}
		if _, err := convert.Foldable(src, renumber(run[0], p.Remove)-1); err != nil {
			return &plugin.Error{Kind: plugin.Refused, Err: err, Hint: "repair it with qlora"}
		}
	}
	return nil
}

// linear folds a map into the layer before each cut. Where that is not exact the
// default chain goes on without, and says so.
func (p Patient) linear(ctx context.Context, rows material, h plugin.Host, event func(plugin.Event), result *Result) error {
	src, err := gguf.Open(p.Cut)
	if err != nil {
		return fmt.Errorf("read the cut model: %w", err)
	}
	err = p.foldable(src)
	src.Close()
	if err != nil && p.Settings.Method == plugin.RepairLinearQLoRA {
		result.note("no closed form: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	before := len(result.Stages)
	all := runs(p.Remove)
	meter := counter{event: event, stage: "fit", status: "fitting the gap in closed form",
		total: int64(len(all) * (tokensOf(rows.train.upTo(fitTokens)) + tokensOf(rows.held.upTo(heldTokens))))}
	for i, run := range all {
		folded, err := fitRun(ctx, p, run, result, rows.documents, h, meter.add)
		if errors.Is(err, repair.ErrNoGain) {
			result.note("no closed form before layer %d: %v", run[0], err)
			continue
		}
		if err != nil {
			return err
		}
		path := filepath.Join(p.Folder, fmt.Sprintf("linear%d.gguf", i))
		digest, err := write(ctx, result.Last().Path, path, folded.changes, convert.MergeConfig{Promote: folded.wider, Repair: plugin.RepairLinear}, "closed form", event)
		if err != nil {
			return err
		}
		if len(result.Stages) > before { // of several cuts only the last model counts
			os.Remove(result.Last().Path)
			result.Stages = result.Stages[:before]
		}
		result.Stages = append(result.Stages, Stage{StageLinear, path, digest})
		result.Repaired.Linear = append(result.Repaired.Linear, folded.fit)
		result.changed(len(folded.changes), folded.wider)
	}
	return nil
}

// A counter turns tokens into events.
type counter struct {
	event         func(plugin.Event)
	stage, status string
	done, total   int64
}

func (c *counter) add(tokens int) {
	c.done = min(c.done+int64(tokens), c.total)
	c.event(plugin.Event{Stage: c.stage, Status: c.status, Completed: c.done, Total: c.total})
}
