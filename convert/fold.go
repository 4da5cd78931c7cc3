package convert

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pare/gguf"
)

// ErrNotFoldable says that what a layer's feed-forward puts out cannot be mapped
// linearly by changing its weights alone.
var ErrNotFoldable = errors.New("closed-form repair is not exact for this model")

// foldable are the architectures whose layers end, in both of Ollama's engines, with
// x_{l+1} = y + W_down·h (experts and a constant factor included) where y is what the
// norm before the feed-forward reads, so that a linear map of W_down·h can go into
// W_down. Others add to a layer's output in another way, or are not known well enough.
var foldable = []string{
	"apertus", "arcee", "baichuan", "bloom", "codeshell", "deepseek", "deepseek2",
	"ernie4_5", "exaone", "gemma", "gpt2", "granite", "granitemoe", "hunyuan-dense",
	"internlm2", "llama", "minicpm", "mistral3", "mpt", "nemotron", "olmo", "olmoe",
	"openelm", "orion", "phi3", "qwen", "qwen2", "qwen25vl", "qwen2moe", "qwen2vl",
	"qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "refact", "smollm3", "starcoder",
	"starcoder2", "xverse",
}

// Foldable returns the tensors through which everything that the feed-forward of a
// layer puts out goes: its down projection, those of experts, and their biases. A
// linear map behind them can be folded into them. The error wraps ErrNotFoldable and
// says what stands in the way.
func Foldable(f *gguf.File, layer int) ([]gguf.Tensor, error) {
	arch, _ := text(f, "general.architecture")
	if !slices.Contains(foldable, arch) {
		if slices.ContainsFunc(f.Tensors, func(t gguf.Tensor) bool { return strings.HasPrefix(t.Name, "blk.0.post_ffw_norm.") }) {
			return nil, fmt.Errorf("fold a map into a layer of %s: a norm follows the feed-forward, and no matrix stands behind it: %w", arch, ErrNotFoldable)
		}
		return nil, fmt.Errorf("fold a map into a layer of %s: how its layers end is not known to Pare: %w", arch, ErrNotFoldable)
	}
	var down []gguf.Tensor
	for _, t := range f.Tensors {
		block, rest, ok := blockTensor(t.Name)
		if !ok || block != layer {
			continue
		}
		switch {
		case strings.HasPrefix(rest, "ffn_down"):
			down = append(down, t)
		case strings.HasPrefix(rest, "post_ffw_norm"), strings.HasPrefix(rest, "ffn_post_norm"), strings.HasPrefix(rest, "layer_output_norm"):
			return nil, fmt.Errorf("fold a map into layer %d: %s follows the feed-forward: %w", layer, t.Name, ErrNotFoldable)
		}
	}
	if len(down) == 0 {
		return nil, fmt.Errorf("fold a map into layer %d: it has no feed-forward: %w", layer, ErrNotFoldable)
	}
	return down, nil
}
