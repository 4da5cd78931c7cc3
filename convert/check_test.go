package convert

import (
	"errors"
	"strings"
	"testing"

	"pare/gguf/gguftest"
	"pare/plugin/layers"
)

func keys(kvs ...gguftest.KV) []gguftest.KV { return kvs }

// repeat is a per-layer array in which the pattern returns.
func repeat(n int, pattern ...uint32) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = pattern[i%len(pattern)]
	}
	return out
}

// The kinds of layers, as the engines see them, and what that allows.
var cuts = []struct {
	name    string
	model   tiny
	remove  string
	reason  string // part of it; "" if the cut is possible
	nearest string
}{
	{"plain stack", tiny{arch: "llama", layers: 8}, "0,3,7", "", ""},
	{"nothing", tiny{arch: "gemma3n", layers: 8}, "", "", ""},
	{"everything", tiny{arch: "llama", layers: 3}, "0-2", "no layer would remain", "0-1"},
	{"beyond the end", tiny{arch: "llama", layers: 8}, "6-8", "there is no layer 8, the model has layers 0-7", ""},

	{"whole period of six", tiny{arch: "gemma3", layers: 24}, "7-12", "", ""},
	{"two periods apart", tiny{arch: "gemma3", layers: 24}, "0-5,13-18", "", ""},
	{"tail of a period", tiny{arch: "gemma3", layers: 22}, "18-21", "", ""},
	{"one layer short of a period", tiny{arch: "gemma3", layers: 24}, "7-11",
		"every 6th layer sees the whole context by its place, and layer 16 would become layer 11 and change its kind", "6-11"},
	{"one layer too many", tiny{arch: "gemma3", layers: 24}, "6-12", "every 6th", "6-11"},
	{"single layer of a period", tiny{arch: "gemma3", layers: 24}, "9", "every 6th", "6-11"},
	{"odd run of alternating layers", tiny{arch: "gemma2", layers: 10}, "3-5", "every 2nd", "3-4"},
	{"even run of alternating layers", tiny{arch: "gpt-oss", layers: 10}, "3-6", "", ""},
	{"local layers exchanged", tiny{arch: "gemma2", layers: 10}, "2,5", "every 2nd", "1-2"},
	{"command-r 7b", tiny{arch: "cohere2", layers: 8}, "1-4", "", ""},
	{"smollm3", tiny{arch: "smollm3", layers: 8}, "1-3", "every 4th layer works without positions", "0-3"},
	{"first of each period", tiny{arch: "smallthinker", layers: 9, keys: keys(key("attention.sliding_window", uint32(4)))}, "1",
		"every 4th layer sees the whole context", "0-3"},
	{"no window, no period", tiny{arch: "smallthinker", layers: 9}, "1", "", ""},
	{"olmo2 without window", tiny{arch: "olmo2", layers: 8}, "1", "", ""},
	{"olmo2 with window", tiny{arch: "olmo2", layers: 8, keys: keys(key("attention.sliding_window", uint32(4)))}, "1-4", "", ""},
	{"pattern in the file", tiny{arch: "olmo3", layers: 8,
		keys: keys(key("attention.sliding_window_pattern", []bool{true, true, true, false, true, true, true, false}))}, "1,2", "", ""},
	{"period from a key", tiny{arch: "llama4", layers: 12, keys: keys(key("interleave_moe_layer_step", uint32(3)), key("no_rope_interval", uint32(2)))},
		"0-5", "", ""},
	{"one of two periods", tiny{arch: "llama4", layers: 12, keys: keys(key("interleave_moe_layer_step", uint32(3)), key("no_rope_interval", uint32(2)))},
		"2-4", "every 2nd layer sees the whole context", "0-5"},
	{"experts after dense layers", tiny{arch: "ernie4_5-moe", layers: 6,
		keys: keys(key("interleave_moe_layer_step", uint32(2)), key("leading_dense_block_count", uint32(3)))}, "3-4", "", ""},
	{"experts shifted by a dense layer", tiny{arch: "ernie4_5-moe", layers: 6,
		keys: keys(key("interleave_moe_layer_step", uint32(2)), key("leading_dense_block_count", uint32(3)))}, "0", "every 2nd layer has experts", "0-1"},

	{"hybrid by array", tiny{arch: "qwen3next", layers: 8, keys: keys(key("attention.head_count_kv", repeat(8, 0, 0, 0, 2)))}, "0-4", "", ""},
	{"hybrid by index", tiny{arch: "qwen3next", layers: 8, keys: keys(key("attention.head_count_kv", uint32(2)))}, "0-2", "every 4th layer attends", "0-3"},
	{"all attention gone", tiny{arch: "jamba", layers: 8, keys: keys(key("attention.head_count_kv", repeat(8, 0, 0, 0, 2)))}, "3,7",
		"no layer like layer 3 would remain", "3"},
	{"recurrent and feed-forward layers", tiny{arch: "nemotron_h", layers: 6,
		keys: keys(key("attention.head_count_kv", repeat(6, 0, 0, 2)), key("feed_forward_length", repeat(6, 0, 9, 0)))}, "1,4",
		"no layer like layer 1 would remain", "1"},
	{"the only layer without attention", tiny{arch: "deci", layers: 4, keys: keys(key("attention.head_count_kv", []uint32{2, 0, 2, 2}))}, "1", "", ""},
	{"width of a head", tiny{arch: "openelm", layers: 3, keys: keys(key("attention.head_count", []uint32{2, 4, 4}))}, "0",
		"llama.cpp takes the width of a head from the first layer", "1"},
	{"width of a head in the file", tiny{arch: "openelm", layers: 3, keys: keys(key("attention.head_count", []uint32{2, 4, 4}),
		key("attention.key_length", uint32(4)), key("attention.value_length", uint32(4)))}, "0", "", ""},

	{"shared keys and values", tiny{arch: "gemma3n", layers: 8}, "2", "share keys and values", ""},
	{"shared by a key", tiny{arch: "llama", layers: 8, keys: keys(key("attention.shared_kv_layers", uint32(2)))}, "2", "share keys and values", ""},
	{"first layer's values", tiny{arch: "rwkv7", layers: 4}, "0-1", "layer 0 has to stay: the others mix its values into theirs", "1"},
	{"tensor of one layer", tiny{arch: "llama", layers: 4, tensors: []string{"blk.0.attn_norm_2.weight"}}, "0",
		"layer 0 has to stay: it holds blk.0.attn_norm_2.weight, which no other layer has", "1"},
	{"leading dense layer", tiny{arch: "deepseek", layers: 4, keys: keys(key("leading_dense_block_count", uint32(1))),
		tensors: []string{"blk.0.ffn_up.weight"}}, "0", "", ""},
	{"skip connection", tiny{arch: "solar", layers: 6, keys: keys(key("attention.block_skip_connection.0", repeat(6, 0, 0, 0, 1)))}, "2-3",
		"layer 3 has to stay: a skip connection begins or ends there", "2"},
	{"images enter the first layers", tiny{arch: "qwen3vl", layers: 8, keys: keys(key("vision.deepstack_visual_indexes", []uint32{5, 11, 17}))}, "1",
		"features of images are added after each of the first 3 layers", "3"},
	{"above the images", tiny{arch: "qwen3vl", layers: 8, keys: keys(key("n_deepstack_layers", uint32(3)))}, "3-6", "", ""},
	{"rescaled weights", tiny{arch: "rwkv6", layers: 8, keys: keys(key("rescale_every_n_layers", uint32(3)))}, "2", "scaled for their place", "6"},
	{"rescaled, at the end", tiny{arch: "rwkv6", layers: 8, keys: keys(key("rescale_every_n_layers", uint32(3)))}, "6", "", ""},
	{"prediction layer", tiny{arch: "glm4moe", layers: 6, keys: keys(key("nextn_predict_layers", uint32(1)))}, "5",
		"block 5 predicts further tokens and follows the layers, which are 0-4", ""},
	{"below the prediction layer", tiny{arch: "glm4moe", layers: 6, keys: keys(key("nextn_predict_layers", uint32(1)))}, "4", "", ""},
	{"prediction layer that is run", tiny{arch: "glm4moelite", layers: 4, tensors: []string{"blk.3.nextn.enorm.weight"}}, "3",
		"layer 3 has to stay: it predicts further tokens", "2"},
	{"cross-attention layers", tiny{arch: "mllama", layers: 8, keys: keys(key("attention.cross_attention_layers", []int32{3, 6}))}, "2-3", "", ""},
	{"tall audio tower", tiny{arch: "llama", layers: 6, tensors: []string{"a.blk.4.ln.weight", "v.blk.5.ln.weight"}}, "1-2",
		"the file's other towers have 5 blocks", "1"},

	{"gemma2 27b", tiny{arch: "gemma2", layers: 46, keys: gemma27}, "10-13", "the engines scale attention by 1/sqrt(144) if there are exactly 46 layers", ""},
	{"gemma2 of 48 layers", tiny{arch: "gemma2", layers: 48, keys: gemma27}, "10-11", "exactly 46 layers", "9-12"},
	{"gemma3 4b", tiny{arch: "gemma3", layers: 34, keys: gemma3Window}, "10-15", "", ""},
	{"gemma3 that becomes as many as 1b", tiny{arch: "gemma3", layers: 32, keys: append(keys(key("final_logit_softcapping", float32(30))), gemma3Window...)},
		"6-11", "Ollama ignores the cap on logits if there are exactly 26 layers", "3-14"},
	{"gemma3 that becomes as many as 4b", tiny{arch: "gemma3", layers: 40, keys: gemma3Window}, "6-11",
		"Ollama sets the scale of positions to 8 if there are exactly 34 layers", "3-14"},
	{"deepseek lite", tiny{arch: "deepseek2", layers: 27}, "4-6", "26 or 27 layers", "4"},
	{"deepseek that becomes lite", tiny{arch: "deepseek2", layers: 30}, "4-6", "26 or 27 layers", "4-5"},
	{"command-r plus", tiny{arch: "command-r", layers: 64}, "30-40", "only if there are 64 layers or more", ""},
	{"command-r", tiny{arch: "command-r", layers: 40}, "30-35", "", ""},
	{"exaone 32b", tiny{arch: "exaone4", layers: 64}, "30-33", "exactly 64 layers", ""},
	{"baichuan", tiny{arch: "baichuan", layers: 40}, "30-37", "32 and of 40 layers only", ""},
	{"minicpm3", tiny{arch: "minicpm3", layers: 62}, "30", "1/sqrt(62)", ""},
	{"minicpm", tiny{arch: "minicpm", layers: 40}, "30", "", ""},
}

var gemma27 = keys(key("embedding_length", uint32(4608)), key("attention.head_count", uint32(32)), key("attention.key_length", uint32(128)))

var gemma3Window = keys(key("attention.sliding_window", uint32(1024)), key("context_length", uint32(131072)))

func TestCheckCut(t *testing.T) {
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			var remove []int
			var err error
			if c.remove != "" {
				if remove, err = layers.Parse(c.remove); err != nil {
					t.Fatal(err)
				}
			}
			m := c.model.model(t)
			err = m.CheckCut(remove)
			if c.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var cut *CutError
			if !errors.As(err, &cut) {
				t.Fatalf("got %v, want a *CutError", err)
			}
			if !strings.Contains(cut.Reason, c.reason) {
				t.Errorf("reason %q, want %q", cut.Reason, c.reason)
			}
			if got := layers.Format(cut.Nearest); got != c.nearest {
				t.Errorf("nearest %q, want %q", got, c.nearest)
			}
			if cut.Nearest != nil && m.CheckCut(cut.Nearest) != nil {
				t.Errorf("the nearest cut, %s, is refused: %v", c.nearest, m.CheckCut(cut.Nearest))
			}
		})
	}
}

func TestCutErrorSaysWhatToDo(t *testing.T) {
	err := tiny{arch: "gemma2", layers: 6}.model(t).CheckCut([]int{4, 2, 3})
	want := "cannot remove layers 2-4: every 2nd layer sees the whole context by its place, " +
		"and layer 5 would become layer 2 and change its kind; remove layers 2-3 instead"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestNearestIsNearest compares the search with all cuts that there are.
func TestNearestIsNearest(t *testing.T) {
	for _, d := range []tiny{
		{arch: "gemma3", layers: 9},
		{arch: "gemma2", layers: 9},
		{arch: "cohere2", layers: 10},
		{arch: "qwen3vl", layers: 9, keys: keys(key("n_deepstack_layers", uint32(3)))},
		{arch: "solar", layers: 9, keys: keys(key("attention.block_skip_connection.1", repeat(9, 0, 0, 0, 1)))},
		{arch: "rwkv7", layers: 8},
	} {
		m := d.model(t)
		var possible, refused [][]bool
		for set := 1; set < 1<<m.Layers; set++ {
			if cut := marked(set, m.Layers); m.refusal(cut) == "" {
				possible = append(possible, cut)
			} else {
				refused = append(refused, cut)
			}
		}
		for _, wanted := range refused {
			best := never
			for _, cut := range possible {
				best = min(best, price(wanted, cut))
			}
			got := never
			if nearest := m.nearest(wanted); nearest != nil {
				cut := make([]bool, m.Layers)
				for _, i := range nearest {
					cut[i] = true
				}
				got = price(wanted, cut)
			}
			if got != best {
				t.Fatalf("%s: nearest to %s costs %d, the best costs %d", d.arch, layers.Format(indices(wanted)), got, best)
			}
		}
	}
}

func marked(set, n int) []bool {
	out := make([]bool, n)
	for i := range out {
		out[i] = set>>i&1 == 1
	}
	return out
}

// price is what a cut costs that is not the wanted one; see layerCost.
func price(wanted, cut []bool) int {
	cost, before := 0, false
	for i := range cut {
		switch {
		case wanted[i] && !cut[i]:
			cost += layerCost
		case cut[i] && !wanted[i]:
			cost += layerCost * distance(wanted, i)
		}
		if cut[i] && !before {
			cost++
		}
		before = cut[i]
	}
	return cost
}
