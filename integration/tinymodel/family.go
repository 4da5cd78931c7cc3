package tinymodel

import (
	"fmt"
	"math"

	"pare/gguf/gguftest"
)

// family is what sets one architecture apart from another.
type family struct {
	layers     int // unless the Config says otherwise
	ropeBase   float32
	tied       bool    // the embedding is the output matrix too
	embedding  float64 // factor that the engine multiplies embeddings with
	qkvBias    bool
	qkNorm     bool
	wideNorms  bool // queries and keys are normalised before they are split into heads
	postNorm   bool // a norm after attention and after feed-forward, too
	noPreNorm  bool // and none before them
	window     int  // sliding window, in tokens; every sixth layer sees all
	fused      bool // queries, keys and values are one matrix, the gate and what it gates another
	keys       []gguftest.KV
	vocabulary func() vocabulary
}

var families = map[string]family{
	"llama": {
		layers: 8, ropeBase: 500_000, embedding: 1,
		keys:       []gguftest.KV{{Key: "llama.rope.dimension_count", Value: uint32(HeadSize)}},
		vocabulary: llamaVocabulary,
	},
	"qwen2": {
		layers: 8, ropeBase: 1_000_000, embedding: 1, qkvBias: true,
		vocabulary: qwenVocabulary,
	},
	"qwen3": {
		layers: 8, ropeBase: 1_000_000, embedding: 1, tied: true, qkNorm: true,
		keys:       headSizes("qwen3"),
		vocabulary: qwenVocabulary,
	},
	"gemma3": {
		layers: 12, ropeBase: 1_000_000, embedding: math.Sqrt(Hidden), tied: true,
		qkNorm: true, postNorm: true, window: 64,
		// Without a length both engines assume heads of 256.
		keys: append(headSizes("gemma3"),
			gguftest.KV{Key: "gemma3.rope.local.freq_base", Value: float32(10_000)}),
		vocabulary: gemmaVocabulary,
	},
	"gemma2": {
		layers: 8, ropeBase: 10_000, embedding: math.Sqrt(Hidden), tied: true, postNorm: true,
		// Caps low enough to bend what passes, a window short enough to leave out.
		keys: append(headSizes("gemma2"),
			gguftest.KV{Key: "gemma2.attention.sliding_window", Value: uint32(64)},
			gguftest.KV{Key: "gemma2.attn_logit_softcapping", Value: float32(5)},
			gguftest.KV{Key: "gemma2.final_logit_softcapping", Value: float32(8)}),
		vocabulary: gemmaVocabulary,
	},
	"phi3": {
		layers: 8, ropeBase: 10_000, embedding: 1, fused: true,
		keys:       []gguftest.KV{{Key: "phi3.rope.dimension_count", Value: uint32(HeadSize - 4)}},
		vocabulary: phiVocabulary,
	},
	"olmo3": {
		layers: 8, ropeBase: 500_000, embedding: 1,
		qkNorm: true, wideNorms: true, postNorm: true, noPreNorm: true, window: 64,
		vocabulary: llamaVocabulary,
	},
}

// windowPeriod is how often a layer of gemma3, and of our olmo3, sees the whole context: both engines
// have it built in, so a cut that is not a multiple of it changes the kinds of layers.
const windowPeriod = 6

func headSizes(arch string) []gguftest.KV {
	return []gguftest.KV{
		{Key: arch + ".attention.key_length", Value: uint32(HeadSize)},
		{Key: arch + ".attention.value_length", Value: uint32(HeadSize)},
	}
}

func (f family) keyValues(c Config) []gguftest.KV {
	arch, fileType := c.Architecture, uint32(typeF16)
	if c.Float32 {
		fileType = typeF32
	}
	kvs := []gguftest.KV{
		{Key: "general.architecture", Value: arch},
		{Key: "general.name", Value: "tiny " + arch},
		{Key: "general.file_type", Value: fileType},
		{Key: arch + ".block_count", Value: uint32(c.Layers)},
		{Key: arch + ".context_length", Value: uint32(ContextLength)},
		{Key: arch + ".embedding_length", Value: uint32(Hidden)},
		{Key: arch + ".feed_forward_length", Value: uint32(FeedForward)},
		{Key: arch + ".attention.head_count", Value: uint32(Heads)},
		{Key: arch + ".attention.head_count_kv", Value: uint32(KVHeads)},
		{Key: arch + ".attention.layer_norm_rms_epsilon", Value: float32(1e-6)},
		{Key: arch + ".rope.freq_base", Value: f.ropeBase},
	}
	kvs = append(kvs, f.keys...)
	kvs = append(kvs, positions(c)...)
	if f.window > 0 {
		kvs = append(kvs,
			gguftest.KV{Key: arch + ".attention.sliding_window", Value: uint32(f.window)},
			gguftest.KV{Key: arch + ".attention.sliding_window_pattern", Value: slidingLayers(c.Layers)})
	}
	return kvs
}

// positions are the keys of the ways of Positions.
func positions(c Config) []gguftest.KV {
	scaling := c.Architecture + ".rope.scaling."
	switch c.Positions {
	case "linear", "yarn":
		return []gguftest.KV{
			{Key: scaling + "type", Value: c.Positions},
			{Key: scaling + "factor", Value: float32(4)},
			{Key: scaling + "original_context_length", Value: uint32(ContextLength / 4)},
		}
	case "factors":
		return []gguftest.KV{{Key: scaling + "attn_factor", Value: float32(1.2)}}
	}
	return nil
}

// frequencyFactors adds the tensors that divide each pair's frequency. LongRoPE has two,
// the second for longer contexts than any here.
func frequencyFactors(w *weights, c Config) {
	if c.Positions != "factors" {
		return
	}
	if c.Architecture == "phi3" {
		w.norm("rope_factors_short.weight", HeadSize/2-2, 2)
		w.norm("rope_factors_long.weight", HeadSize/2-2, 8)
		return
	}
	w.norm("rope_freqs.weight", HeadSize/2, 4)
}

// slidingLayers tells for each layer whether it sees only the window.
func slidingLayers(layers int) []bool {
	pattern := make([]bool, layers)
	for l := range pattern {
		pattern[l] = (l+1)%windowPeriod != 0
	}
	return pattern
}

func (f family) tensors(c Config, v vocabulary) []gguftest.Tensor {
	w := weights{seed: c.Seed, float32: c.Float32}
	w.embedding("token_embd.weight", v, 1/f.embedding)
	frequencyFactors(&w, c)
	stream := 1.0 // root mean square of the residual stream; embeddings have 1
	for l := range c.Layers {
		added := stream * math.Tan(math.Pi*w.turn(l, c.Layers))
		f.layer(&w, fmt.Sprintf("blk.%d.", l), added/math.Sqrt2)
		stream = math.Hypot(stream, added)
	}
	f.head(&w, v)
	return w.tensors
}

// layer adds one block whose attention and feed-forward each put about as much on the
// residual stream as part says (root mean square).
func (f family) layer(w *weights, prefix string, part float64) {
	const kvWidth = KVHeads * HeadSize
	attention, feedForward := part/attentionYield, part/feedForwardYield
	sharp := math.Sqrt(sharpness)
	if f.postNorm {
		attention, feedForward = 1, 1
	}
	query, key := sharp, sharp
	if f.qkNorm {
		query, key = 1, 1
		queries, keys := HeadSize, HeadSize
		if f.wideNorms {
			queries, keys = Hidden, kvWidth
		}
		w.norm(prefix+"attn_q_norm.weight", queries, sharp)
		w.norm(prefix+"attn_k_norm.weight", keys, sharp)
	}
	if !f.noPreNorm {
		w.norm(prefix+"attn_norm.weight", Hidden, 1)
		w.norm(prefix+"ffn_norm.weight", Hidden, 1)
	}
	if f.fused {
		w.matrix(prefix+"attn_qkv.weight", Hidden, Hidden+2*kvWidth, sharp)
		w.matrix(prefix+"attn_output.weight", Hidden, Hidden, attention/sharp)
		w.matrix(prefix+"ffn_up.weight", Hidden, 2*FeedForward, 1)
		w.matrix(prefix+"ffn_down.weight", FeedForward, Hidden, feedForward)
		return
	}
	w.matrix(prefix+"attn_q.weight", Hidden, Hidden, query)
	w.matrix(prefix+"attn_k.weight", Hidden, kvWidth, key)
	w.matrix(prefix+"attn_v.weight", Hidden, kvWidth, 1)
	w.matrix(prefix+"attn_output.weight", Hidden, Hidden, attention)
	if f.qkvBias {
		w.bias(prefix+"attn_q.bias", Hidden)
		w.bias(prefix+"attn_k.bias", kvWidth)
		w.bias(prefix+"attn_v.bias", kvWidth)
	}
	w.matrix(prefix+"ffn_gate.weight", Hidden, FeedForward, 1)
	w.matrix(prefix+"ffn_up.weight", Hidden, FeedForward, 1)
	w.matrix(prefix+"ffn_down.weight", FeedForward, Hidden, feedForward)
	if f.postNorm {
		w.norm(prefix+"post_attention_norm.weight", Hidden, part)
		w.norm(prefix+"post_ffw_norm.weight", Hidden, part)
	}
}

// head adds what follows the layers, scaled for logits with a spread of about 2.
func (f family) head(w *weights, v vocabulary) {
	const spread = 2
	if f.tied {
		// The embedding has deviation 1/f.embedding, and logits sum over Hidden of it.
		w.signedNorm("output_norm.weight", Hidden, spread*f.embedding/math.Sqrt(Hidden))
		return
	}
	w.signedNorm("output_norm.weight", Hidden, 1)
	w.embedding("output.weight", v, spread/math.Sqrt(Hidden))
}
