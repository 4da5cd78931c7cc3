package host

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ollama/ollama/api"

	"pare/host/score"
	"pare/plugin"
)

// known are the options that make a difference in the scoring process.
var known = []string{
	"num_predict", "temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "repeat_penalty",
	"presence_penalty", "frequency_penalty", "seed", "stop", "num_ctx", "num_thread",
}

// withOptions are a model's options with those of a request over them. One that
// would be ignored is an error.
func withOptions(o api.Options, asked map[string]any) (api.Options, error) {
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		if !slices.Contains(known, name) {
			return o, plugin.Errorf(plugin.Invalid, "options: %q is not one of those that count here: %s", name, strings.Join(known, ", "))
		}
	}
	if err := o.FromMap(asked); err != nil {
		return o, plugin.Errorf(plugin.Invalid, "options: %w", err)
	}
	return o, nil
}

// sampling is how Ollama would choose tokens. Its own engine, which runs the newer
// architectures, knows no penalties and no typical_p.
func sampling(h head, o api.Options) score.Sampling {
	out := score.Sampling{Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP, MinP: o.MinP, Seed: uint32(o.Seed)}
	if o.TopP == 0 { // the likeliest token alone; there, 0 means all
		out.TopP = math.SmallestNonzeroFloat32
	}
	if h.ownEngine() {
		return out
	}
	out.TypicalP, out.RepeatLastN, out.RepeatPenalty = o.TypicalP, o.RepeatLastN, o.RepeatPenalty
	out.PresencePenalty, out.FrequencyPenalty = o.PresencePenalty, o.FrequencyPenalty
	return out
}
