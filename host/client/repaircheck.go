package client

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"pare/plugin"
)

// What the fields that are words may say.
var (
	repairMethods = []string{plugin.RepairNone, plugin.RepairLinear, plugin.RepairQLoRA, plugin.RepairLinearQLoRA, plugin.RepairPartial, plugin.RepairFull}
	repairLosses  = []string{plugin.LossDistill, plugin.LossNext, plugin.LossHidden}
	repairPresets = []string{"pare", "review"}
	repairTargets = []string{"all", "ffn", "attention"}
	quantizations = []string{"f16", "q8_0", "q4_K_M", "q4_K_S"} // those of `ollama create --quantize` that make a model smaller
)

func (r *Repair) checkWords() error {
	for _, f := range []struct {
		name, value string
		allowed     []string
	}{
		{"method", r.Method, repairMethods},
		{"loss", r.Loss, repairLosses},
		{"preset", r.Preset, repairPresets},
		{"targets", r.Targets, repairTargets},
	} {
		if f.value != "" && !slices.Contains(f.allowed, f.value) {
			return fmt.Errorf("%s is %q; give %s", f.name, f.value, oneOf(f.allowed))
		}
	}
	if n, window := strings.CutPrefix(r.Layers, "window:"); window {
		if wide, err := strconv.Atoi(n); err != nil || wide < 1 {
			return fmt.Errorf("layers is %q; give a number of layers behind window:, such as window:4", r.Layers)
		}
	} else if !slices.Contains([]string{"", "above", "all"}, r.Layers) {
		return fmt.Errorf("layers is %q; give above (the cut), all, or window:4 for 4 layers each side of it", r.Layers)
	}
	if r.Quantize != "" && !slices.ContainsFunc(quantizations, func(q string) bool { return strings.EqualFold(q, r.Quantize) }) {
		return fmt.Errorf("quantize is %q; give %s", r.Quantize, oneOf(quantizations))
	}
	return nil
}

// checkNumbers is for those that count something.
func (r *Repair) checkNumbers() error {
	for _, f := range []struct {
		name  string
		value *int
		least int
		usual string
	}{
		{"rank", r.Rank, 1, "8 is usual"},
		{"steps", r.Steps, 1, "100 to 500 are usual"},
		{"batch", r.Batch, 1, "4 is usual"},
		{"length", r.Length, 16, "256 is usual"},
		{"accumulate", r.Accumulate, 1, "it must divide batch"},
	} {
		if f.value != nil && *f.value < f.least {
			return fmt.Errorf("%s is %d; give %d or more (%s), or leave it out", f.name, *f.value, f.least, f.usual)
		}
	}
	if r.Batch != nil && r.Accumulate != nil && *r.Batch%*r.Accumulate != 0 {
		return fmt.Errorf("batch is %d, which accumulate, %d, does not divide; give a batch of %d, or another accumulate",
			*r.Batch, *r.Accumulate, (*r.Batch / *r.Accumulate + 1)**r.Accumulate)
	}
	if r.WarmUp < 0 || r.Steps != nil && r.WarmUp >= *r.Steps {
		return fmt.Errorf("warm_up is %d; give a number of steps from 0 up to less than steps", r.WarmUp)
	}
	if !slices.Contains([]int{0, 4, 8}, r.Bits) {
		return fmt.Errorf("bits is %d; give 4 or 8, or leave it out for the weights as they are stored", r.Bits)
	}
	return nil
}

// checkRates is for the others. A NaN is in no range.
func (r *Repair) checkRates() error {
	if v := r.Alpha; v != nil && !(*v > 0 && !math.IsInf(*v, 0)) {
		return fmt.Errorf("alpha is %v; give a number above 0 (as high as the rank or twice that is usual)", *v)
	}
	if v := r.LearningRate; v != nil && !(*v > 0 && *v <= 1) {
		return fmt.Errorf("learning_rate is %v; give a number above 0 and at most 1 (0.0001 to 0.0005 is usual)", *v)
	}
	if v := r.Clip; v != nil && !(*v > 0 && !math.IsInf(*v, 0)) {
		return fmt.Errorf("clip is %v; give a number above 0 (1 is usual)", *v)
	}
	if !(r.Dropout >= 0 && r.Dropout < 1) {
		return fmt.Errorf("dropout is %v; give a share from 0 to less than 1", r.Dropout)
	}
	return nil
}

// Trains reports whether a method trains anything; the default one does.
func Trains(method string) bool {
	return method != plugin.RepairNone && method != plugin.RepairLinear
}

// Adapts reports whether what a method trains are low-rank adapters.
func Adapts(method string) bool {
	return Trains(method) && method != plugin.RepairPartial && method != plugin.RepairFull
}

// checkPlace refuses what the method has no use for: a person who gives it expects
// something of it.
func (r *Repair) checkPlace() error {
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"rank", r.Rank != nil}, {"alpha", r.Alpha != nil}, {"dropout", r.Dropout != 0},
		{"targets", r.Targets != ""}, {"layers", r.Layers != ""}, {"adapter", r.Adapter},
	} {
		if f.given && !Adapts(r.Method) {
			return fmt.Errorf("%s is for adapters, which %q has none of; leave it out, or give the method qlora or linear+qlora", f.name, r.Method)
		}
	}
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"loss", r.Loss != ""}, {"preset", r.Preset != ""}, {"bits", r.Bits != 0}, {"steps", r.Steps != nil}, {"batch", r.Batch != nil},
		{"length", r.Length != nil}, {"accumulate", r.Accumulate != nil}, {"learning_rate", r.LearningRate != nil},
		{"warm_up", r.WarmUp != 0}, {"clip", r.Clip != nil}, {"seed", r.Seed != 0},
	} {
		if f.given && !Trains(r.Method) {
			return fmt.Errorf("%s is for training, and %q does not train; leave it out, or give another method", f.name, r.Method)
		}
	}
	if r.Method == plugin.RepairNone && r.Data != nil {
		return errors.New("data is to be repaired with, and the method is none; leave one of them out")
	}
	return nil
}

// oneOf lists words to choose from: "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
