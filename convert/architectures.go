package convert

import (
	"fmt"
	"math"

	"pare/gguf"
)

// architecture is what the engines that serve an architecture derive from a
// layer's index or from the number of layers, beyond what stands in the file for
// each layer. The zero value is a stack whose layers may go one by one, which
// also holds where per-layer arrays and the tensors themselves make the kinds.
//
// Keys that mean the same wherever they occur need no entry here: leading dense
// layers, cross-attention layers, deep-stacked images, shared keys and values,
// skip connections and rescaling; see newRules.
type architecture struct {
	not    string  // what it is instead of a decoder
	refuse string  // why no layer can go
	cycles []cycle // kinds that return every few layers
	first  string  // what the other layers need the first one for
	dense  int     // leading dense layers if leading_dense_block_count is missing
	hybrid bool    // per-layer arrays tell recurrent layers from others; of each kind one must remain

	// prediction: block_count includes nextn_predict_layers blocks at the end.
	prediction bool

	// count says why a model of another number of layers would compute something
	// else, or "".
	count func(md metadata) func(before, after int) string

	// pin returns keys that keep what the engines derive from that number of layers
	// where the file leaves it to them.
	pin func(md metadata, layers int) []gguf.KV
}

// architectures holds what Ollama v0.17 serves, by general.architecture. The
// sources are its own engine (model/models) and the llama.cpp within it
// (llama-model.cpp and src/models); where a model may run on either, both count.
var architectures = map[string]architecture{
	"afmoe":          {cycles: []cycle{{every: 4, what: seesAll}}},
	"apertus":        {},
	"arcee":          {},
	"arctic":         {},
	"arwkv7":         {first: "the others mix its values into theirs"},
	"baichuan":       {count: baichuan},
	"bailingmoe":     {},
	"bailingmoe2":    {prediction: true},
	"bitnet":         {},
	"bloom":          {},
	"chameleon":      {},
	"chatglm":        {},
	"codeshell":      {},
	"cogvlm":         {},
	"cohere2":        {cycles: []cycle{{every: 4, what: seesAll}}},
	"command-r":      {count: commandR},
	"dbrx":           {},
	"deci":           {},
	"deepseek":       {},
	"deepseek2":      {count: deepseek2},
	"deepseekocr":    {dense: 1},
	"dots1":          {},
	"ernie4_5":       {},
	"ernie4_5-moe":   {cycles: []cycle{{key: "interleave_moe_layer_step", every: 1, what: hasExperts, sparse: true}}},
	"exaone":         {},
	"exaone4":        {count: exaone4},
	"falcon":         {},
	"falcon-h1":      {},
	"gemma":          {},
	"gemma2":         {cycles: []cycle{{every: 2, what: seesAll}}, count: gemma2},
	"gemma3":         {cycles: []cycle{{every: 6, what: seesAll}}, count: gemma3, pin: pinGemma3},
	"gemma3n":        {refuse: "its later layers share keys and values with earlier ones, and its embeddings hold a part for every layer"},
	"glm4":           {},
	"glm4moe":        {prediction: true},
	"glm4moelite":    {},
	"glmocr":         {},
	"gpt-oss":        {cycles: []cycle{{every: 2, what: seesAll}}},
	"gpt2":           {},
	"gptneox":        {},
	"gptoss":         {cycles: []cycle{{every: 2, what: seesAll}}},
	"granite":        {},
	"granitehybrid":  {hybrid: true},
	"granitemoe":     {},
	"grok":           {},
	"grovemoe":       {},
	"hunyuan-dense":  {},
	"hunyuan-moe":    {},
	"internlm2":      {},
	"jais":           {},
	"jamba":          {hybrid: true},
	"lfm2":           {hybrid: true},
	"lfm2moe":        {hybrid: true},
	"llama":          {},
	"llama4":         {cycles: []cycle{{key: "interleave_moe_layer_step", every: 1, what: hasExperts}, {key: "no_rope_interval", every: 4, what: seesAll}}},
	"mamba":          {},
	"mamba2":         {},
	"minicpm":        {pin: pinMiniCPM},
	"minicpm3":       {count: minicpm3},
	"minimax-m2":     {},
	"mistral3":       {},
	"mllama":         {},
	"mpt":            {},
	"nemotron":       {},
	"nemotron_h":     {hybrid: true},
	"nemotron_h_moe": {hybrid: true},
	"olmo":           {},
	"olmo2":          {cycles: []cycle{{every: 4, what: seesAll, when: "attention.sliding_window"}}},
	"olmo3":          {},
	"olmoe":          {},
	"openelm":        {},
	"orion":          {},
	"pangu-embedded": {},
	"phi2":           {},
	"phi3":           {},
	"phimoe":         {},
	"plamo":          {},
	"plamo2":         {hybrid: true},
	"plm":            {},
	"qwen":           {},
	"qwen2":          {},
	"qwen25vl":       {},
	"qwen2moe":       {},
	"qwen2vl":        {},
	"qwen3":          {},
	"qwen35":         {hybrid: true, cycles: []cycle{{every: 4, what: attends, unless: "attention.head_count_kv"}}},
	"qwen35moe":      {hybrid: true, cycles: []cycle{{every: 4, what: attends, unless: "attention.head_count_kv"}}},
	"qwen3moe":       {},
	"qwen3next":      {hybrid: true, cycles: []cycle{{every: 4, what: attends, unless: "attention.head_count_kv"}}},
	"qwen3vl":        {},
	"qwen3vlmoe":     {},
	"refact":         {},
	"rwkv6":          {},
	"rwkv6qwen2":     {},
	"rwkv7":          {first: "the others mix its values into theirs"},
	"seed_oss":       {},
	"smallthinker":   {cycles: []cycle{{every: 4, first: true, what: seesAll, when: "attention.sliding_window"}}},
	"smollm3":        {cycles: []cycle{{every: 4, what: noPositions}}},
	"solar":          {},
	"stablelm":       {},
	"starcoder":      {},
	"starcoder2":     {},
	"xverse":         {},

	"bert":             {not: encoder},
	"clip":             {not: "a projector: cut the language model beside it"},
	"dream":            {not: diffusion},
	"gemma-embedding":  {not: encoder},
	"jina-bert-v2":     {not: encoder},
	"jina-bert-v3":     {not: encoder},
	"llada":            {not: diffusion},
	"llada-moe":        {not: diffusion},
	"neo-bert":         {not: encoder},
	"nomic-bert":       {not: encoder},
	"nomic-bert-moe":   {not: encoder},
	"rnd1":             {not: diffusion},
	"t5":               {not: "an encoder-decoder, whose halves depend on each other"},
	"t5encoder":        {not: encoder},
	"wavtokenizer-dec": {not: "an audio decoder"},
}

const (
	seesAll     = "sees the whole context"
	hasExperts  = "has experts"
	attends     = "attends instead of recurring"
	noPositions = "works without positions"

	encoder   = "an encoder, which makes embeddings"
	diffusion = "a diffusion model, which does not read from left to right"
)

// gemmaScale says whether queries would be scaled differently: models of exactly
// large layers divide by the square root of another width.
func gemmaScale(md metadata, large int) func(before, after int) string {
	head, heads := md.number("attention.key_length", 256), md.number("attention.head_count", 1)
	wide := md.number("embedding_length", 0) / max(heads, 1)
	return func(before, after int) string {
		if head == wide || (before == large) == (after == large) {
			return ""
		}
		return fmt.Sprintf("the engines scale attention by 1/sqrt(%d) if there are exactly %d layers, else by 1/sqrt(%d)", wide, large, head)
	}
}

func gemma2(md metadata) func(before, after int) string { return gemmaScale(md, 46) }

// gemma3 adds to gemmaScale the settings that Ollama's engine forces upon the
// numbers of layers of the models first published.
func gemma3(md metadata) func(before, after int) string {
	scale := gemmaScale(md, 62)
	return func(before, after int) string {
		rope, softcap := gemma3Settings(md, before)
		forcedRope, forcedSoftcap := gemma3Forced(md, after)
		switch {
		case forcedRope && rope != 8:
			return fmt.Sprintf("Ollama sets the scale of positions to 8 if there are exactly %d layers, and this model's is %g", after, rope)
		case forcedSoftcap && softcap != 0:
			return fmt.Sprintf("Ollama ignores the cap on logits if there are exactly %d layers, and this model's is %g", after, softcap)
		}
		return scale(before, after)
	}
}

// gemma3Forced says what Ollama sets for a model of n layers, whatever the file says.
func gemma3Forced(md metadata, n int) (rope, softcap bool) {
	if md.number("attention.sliding_window", 0) >= md.number("context_length", 0) {
		return false, false
	}
	return n == 34 || n == 48 || n == 62, n == 26
}

// gemma3Settings is what a model of n layers runs with: the scale of positions in
// layers that see everything, and the cap on logits.
func gemma3Settings(md metadata, n int) (rope, softcap float64) {
	forcedRope, forcedSoftcap := gemma3Forced(md, n)
	rope, softcap = md.real("rope.scaling.factor", 1), md.real("final_logit_softcapping", 0)
	if forcedRope {
		rope = 8
	}
	if forcedSoftcap {
		softcap = 0
	}
	return rope, softcap
}

// pinGemma3 writes down what the parent's number of layers stood for.
func pinGemma3(md metadata, layers int) []gguf.KV {
	var kvs []gguf.KV
	rope, softcap := gemma3Settings(md, layers)
	if rope != md.real("rope.scaling.factor", 1) {
		kvs = append(kvs, gguf.KV{Key: "gemma3.rope.scaling.factor", Value: gguf.Float32(float32(rope))})
	}
	if softcap != md.real("final_logit_softcapping", 0) {
		kvs = append(kvs, gguf.KV{Key: "gemma3.final_logit_softcapping", Value: gguf.Float32(float32(softcap))})
	}
	return kvs
}

// pinMiniCPM writes down the scale of each layer's output, 1.4/sqrt(layers), for
// files that leave it to llama.cpp.
func pinMiniCPM(md metadata, layers int) []gguf.KV {
	if _, ok := md.value("residual_scale"); ok {
		return nil
	}
	scale := float32(1.4) / float32(math.Sqrt(float64(layers)))
	return []gguf.KV{{Key: "minicpm.residual_scale", Value: gguf.Float32(scale)}}
}

func minicpm3(metadata) func(before, after int) string {
	return func(before, after int) string {
		return fmt.Sprintf("llama.cpp scales what each layer adds by 1/sqrt(%d), the number of layers, and no key of the file can keep that", before)
	}
}

func baichuan(metadata) func(before, after int) string {
	return func(before, after int) string {
		return fmt.Sprintf("llama.cpp runs baichuan models of 32 and of 40 layers only, each in its own way, and this one would have %d", after)
	}
}

func commandR(metadata) func(before, after int) string {
	return func(before, after int) string {
		if (before >= 64) == (after >= 64) {
			return ""
		}
		return fmt.Sprintf("llama.cpp reads the norms of queries and keys only if there are 64 layers or more, and this model would have %d", after)
	}
}

func deepseek2(metadata) func(before, after int) string {
	lite := func(n int) bool { return n == 26 || n == 27 }
	return func(before, after int) string {
		if lite(before) == lite(after) {
			return ""
		}
		return fmt.Sprintf("llama.cpp expects undivided queries if there are 26 or 27 layers and compressed ones otherwise, and this model would go from %d layers to %d", before, after)
	}
}

func exaone4(metadata) func(before, after int) string {
	return func(before, after int) string {
		if before != 64 && after != 64 {
			return ""
		}
		return "llama.cpp uses sliding windows if there are exactly 64 layers, and none otherwise"
	}
}
