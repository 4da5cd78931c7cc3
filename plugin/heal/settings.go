package heal

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pare/convert"
	"pare/plugin"
)

// Presets, in Repair.Preset.
const (
	PresetPare   = "pare"   // measured on small models; see the README
	PresetReview = "review" // the published settings for models of 7B parameters and more
)

// Methods lists what Repair.Method may be, the default first.
func Methods() []string {
	return []string{
		plugin.RepairLinearQLoRA, plugin.RepairLinear, plugin.RepairQLoRA,
		plugin.RepairPartial, plugin.RepairFull, plugin.RepairNone,
	}
}

// A preset is what a share of removed layers asks for.
type preset struct {
	upTo          float64 // share of the layers
	rank          int
	rate          float64
	steps, warmUp int
}

var presets = map[string][]preset{
	PresetPare: {
		{0.10, 32, 1e-3, 60, 6},
		{0.20, 32, 1e-3, 100, 10},
		{0.30, 32, 1e-3, 200, 20},
		{0.40, 32, 1e-3, 300, 30},
		{1.00, 32, 1e-3, 400, 40},
	},
	PresetReview: {
		{0.20, 8, 1e-4, 150, 10},
		{0.30, 8, 5e-5, 250, 20},
		{0.40, 16, 5e-5, 400, 30},
		{1.00, 16, 2e-5, 500, 40},
	},
}

// denseShare is the learning rate of the matrices themselves, as a share of that of
// adapters: all their numbers move by it.
const denseShare = 0.1

// Settings returns r with its defaults for a model of so many layers that lost
// removed of them, or an error that names the field at fault.
func Settings(r plugin.Repair, layers, removed int) (plugin.Repair, error) {
	r.Method = cmp.Or(r.Method, Methods()[0])
	r.Loss = cmp.Or(r.Loss, plugin.LossDistill)
	r.Preset = cmp.Or(r.Preset, PresetPare)
	r.Targets = cmp.Or(r.Targets, "all")
	r.Layers = cmp.Or(r.Layers, "above")
	if err := checkNames(r); err != nil {
		return r, err
	}
	share := float64(removed) / float64(layers)
	rows := presets[r.Preset]
	row := rows[slices.IndexFunc(rows, func(p preset) bool { return share <= p.upTo+1e-9 || p.upTo == 1 })]
	r.Rank = cmp.Or(r.Rank, row.rank)
	if r.Method == plugin.RepairPartial || r.Method == plugin.RepairFull {
		row.rate *= denseShare
	}
	r.LearningRate = cmp.Or(r.LearningRate, row.rate)
	r.Steps = cmp.Or(r.Steps, row.steps)
	r.WarmUp = min(cmp.Or(r.WarmUp, max(1, row.warmUp*r.Steps/row.steps)), r.Steps)
	r.Alpha = cmp.Or(r.Alpha, 2*float64(r.Rank))
	r.Batch = cmp.Or(r.Batch, 4)
	r.Length = cmp.Or(r.Length, 256)
	r.Accumulate = cmp.Or(r.Accumulate, 1)
	r.Clip = cmp.Or(r.Clip, 1)
	return r, checkNumbers(r)
}

func checkNames(r plugin.Repair) error {
	for _, f := range []struct {
		name, value string
		allowed     []string
	}{
		{"method", r.Method, Methods()},
		{"loss", r.Loss, []string{plugin.LossDistill, plugin.LossNext, plugin.LossHidden}},
		{"preset", r.Preset, []string{PresetPare, PresetReview}},
		{"targets", r.Targets, []string{"all", "ffn", "attention"}},
	} {
		if !slices.Contains(f.allowed, f.value) {
			return plugin.Errorf(plugin.Invalid, "repair: there is no %s %q; give one of %s", f.name, f.value, strings.Join(f.allowed, ", "))
		}
	}
	if r.Adapter && r.Method != plugin.RepairQLoRA && r.Method != plugin.RepairLinearQLoRA {
		return plugin.Errorf(plugin.Invalid, "repair: %s leaves no adapter; give the method qlora or linear+qlora, or leave adapter out", r.Method)
	}
	if all := convert.Quantizations(); r.Quantize != "" && !slices.ContainsFunc(all, func(q string) bool { return strings.EqualFold(q, r.Quantize) }) {
		return plugin.Errorf(plugin.Invalid, "repair: there is no type %q; give one of %s", r.Quantize, strings.Join(all, ", "))
	}
	_, err := window(r.Layers)
	return err
}

// window reads Repair.Layers: how many layers each side of a cut are trained, 0 for
// "above" and -1 for "all".
func window(s string) (int, error) {
	switch s {
	case "above":
		return 0, nil
	case "all":
		return -1, nil
	}
	if digits, ok := strings.CutPrefix(s, "window:"); ok {
		if n, err := strconv.Atoi(digits); err == nil && n >= 1 && n <= 1024 {
			return n, nil
		}
	}
	return 0, plugin.Errorf(plugin.Invalid, "repair: layers is %q; give above, all, or window:N with N layers each side of the cut", s)
}

func checkNumbers(r plugin.Repair) error {
	switch {
	case r.Rank < 1:
		return plugin.Errorf(plugin.Invalid, "repair: rank is %d; give 1 or more (8 or 16 is usual)", r.Rank)
	case !(r.Alpha > 0) || r.Alpha > 1e4:
		return plugin.Errorf(plugin.Invalid, "repair: alpha is %g; give a number above 0 (the rank, or twice the rank, is usual)", r.Alpha)
	case !(r.Dropout >= 0 && r.Dropout < 1):
		return plugin.Errorf(plugin.Invalid, "repair: dropout is %g; give a share from 0 to below 1", r.Dropout)
	case r.Bits != 0 && r.Bits != 4 && r.Bits != 8:
		return plugin.Errorf(plugin.Invalid, "repair: bits is %d; give 4 or 8, or 0 to train over the weights as they are stored", r.Bits)
	case r.Steps < 1 || r.Steps > 1_000_000:
		return plugin.Errorf(plugin.Invalid, "repair: steps is %d; give 1 to 1000000", r.Steps)
	case r.Batch < 1 || r.Batch > 4096:
		return plugin.Errorf(plugin.Invalid, "repair: batch is %d; give 1 to 4096 sequences", r.Batch)
	case r.Length < 16 || r.Length > 32768:
		return plugin.Errorf(plugin.Invalid, "repair: length is %d; give 16 to 32768 tokens", r.Length)
	case r.Accumulate < 1 || r.Batch%r.Accumulate != 0:
		return plugin.Errorf(plugin.Invalid, "repair: a batch of %d does not come in %d equal parts; give an accumulate that divides it", r.Batch, r.Accumulate)
	case !(r.LearningRate > 0 && r.LearningRate <= 1):
		return plugin.Errorf(plugin.Invalid, "repair: the learning rate is %g; give a number above 0 and at most 1 (1e-5 to 1e-3 is usual)", r.LearningRate)
	case r.WarmUp < 0:
		return plugin.Errorf(plugin.Invalid, "repair: warm_up is %d; give 0 or more steps", r.WarmUp)
	case !(r.Clip > 0):
		return plugin.Errorf(plugin.Invalid, "repair: clip is %g; give a norm above 0", r.Clip)
	}
	return nil
}

// linear and trains say what a method is made of.
func linear(method string) bool {
	return method == plugin.RepairLinear || method == plugin.RepairLinearQLoRA
}

func trains(method string) bool { return method != plugin.RepairLinear && method != plugin.RepairNone }

// budget is how many tokens the steps of a training take in.
func budget(r plugin.Repair) int { return r.Steps * r.Batch * r.Length }

// runs are the removed layers that stand together: each first and last.
func runs(remove []int) (out [][2]int) {
	for i, l := range remove {
		if i == 0 || l != remove[i-1]+1 {
			out = append(out, [2]int{l, l})
		}
		out[len(out)-1][1] = l
	}
	return out
}

// renumber is the number that a layer which stays has in the cut model.
func renumber(layer int, remove []int) int {
	n, _ := slices.BinarySearch(remove, layer)
	return layer - n
}

// trained are the layers of the cut model that a training changes, ascending.
func trained(r plugin.Repair, layers int, remove []int) ([]int, error) {
	around, err := window(r.Layers)
	if err != nil {
		return nil, err
	}
	left := layers - len(remove)
	in := make([]bool, left)
	switch {
	case around < 0:
		for l := range in {
			in[l] = true
		}
	case around == 0:
		for l := max(0, renumber(remove[0], remove)-1); l < left; l++ {
			in[l] = true
		}
	default:
		for _, run := range runs(remove) {
			at := renumber(run[0], remove) // the first one after the cut
			for l := max(0, at-around); l < min(left, at+around); l++ {
				in[l] = true
			}
		}
	}
	var out []int
	for l, yes := range in {
		if yes {
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("repair: no layer is left to train")
	}
	return out, nil
}
