package report

import (
	"fmt"
	"strconv"
	"strings"

	"pare/plugin"
	"pare/plugin/phrase"
)

// repairFacts say by which settings a model was repaired, and on which text.
func repairFacts(r plugin.Repaired) []fact {
	return append([]fact{{"repair", repairSettings(r.Settings)}}, corpora("repaired with", r.Data)...)
}

// repairSettings lists what is set. What is zero had no part in the repair.
func repairSettings(r plugin.Repair) string {
	words := []string{plain(r.Method)}
	add := func(set bool, format string, args ...any) {
		if set {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(r.Loss != "", "loss %s", plain(r.Loss))
	add(r.Targets != "", "targets %s", plain(r.Targets))
	add(r.Layers != "", "layers %s", plain(r.Layers))
	add(r.Rank > 0, "rank %d", r.Rank)
	add(r.Alpha > 0, "alpha %s", plainly(r.Alpha))
	add(r.Dropout > 0, "dropout %s", plainly(r.Dropout))
	add(r.Bits > 0, "frozen weights in %d bits", r.Bits)
	add(r.Steps > 0, "%s of %d × %s", phrase.Many(int64(r.Steps), "step"), r.Batch, phrase.Many(int64(r.Length), "token"))
	add(r.Accumulate > 1, "each in %d parts", r.Accumulate)
	add(r.LearningRate > 0, "learning rate %s", plainly(r.LearningRate))
	add(r.WarmUp > 0, "%s of warm-up", phrase.Many(int64(r.WarmUp), "step"))
	add(r.Clip > 0, "gradients clipped at %s", plainly(r.Clip))
	add(r.Steps > 0, "seed %d", r.Seed)
	add(r.Adapter, "as an adapter, not merged")
	add(r.Quantize != "", "quantized to %s", plain(r.Quantize))
	return strings.Join(words, ", ")
}

// plainly writes a number that a person chose, with no more digits than it needs.
func plainly(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
