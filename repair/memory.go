package repair

import (
	"errors"

	"pare/convert/quant"
	"pare/gguf"
)

// programBytes is what the program takes with XLA loaded and two graphs compiled.
const programBytes = 400 << 20

// Estimate is the memory, in bytes, that a training takes at its peak on the CPU, for
// examples of length tokens. embeds says that they come without Example.State. It was fitted to a
// llama of 135M parameters, where it is within a tenth of what was measured. The
// fields of cfg must be valid.
func Estimate(n *Network, f *gguf.File, cfg Config, length int, embeds bool) int64 {
	cfg = cfg.withDefaults(n)
	part := Part{From: cfg.First, To: len(n.Layers), Embedding: embeds, Head: cfg.Loss != LossHidden, Bits: cfg.Bits}
	var stored int64
	for _, name := range n.tensors(f, part) {
		if t, ok := f.Tensor(name); ok {
			stored += packedBytes(t, cfg.Bits)
		}
	}
	return programBytes + stored + n.trainedBytes(cfg) + n.workBytes(cfg, length)
}

// packedBytes is what a tensor takes in memory. One of a code book that ggml alone holds
// is trained in Q4_K, which convert.Widen stores it in.
func packedBytes(t gguf.Tensor, bits int) int64 {
	kind := t.Type
	if _, err := quant.Pack(kind, make([]byte, kind.TypeSize()), int(kind.BlockSize())); errors.Is(err, quant.ErrCodebook) {
		kind = gguf.Q4_K
	}
	held := func() (perBlock int64, bits int) {
		p, err := quant.Pack(kind, make([]byte, kind.TypeSize()), int(kind.BlockSize()))
		if err != nil { // stored as it is, or unpacked
			return max(4*int64(kind.BlockSize()), int64(kind.TypeSize())), 32
		}
		return int64(len(p.Q)) + 4*int64(len(p.Scale)+len(p.Min)), p.Bits
	}
	block, has := held()
	switch kind {
	case gguf.F16, gguf.BF16:
		block, has = 2, 16
	}
	if bits > 0 && has > bits && len(t.Shape) > 1 {
		kind = gguf.Q8_0
		if bits == 4 {
			kind = gguf.Q4_1
		}
		block, _ = held()
	}
	numbers := int64(1)
	for _, d := range t.Shape {
		numbers *= int64(d)
	}
	return numbers / int64(kind.BlockSize()) * block
}

// trainedBytes is what the parameters take: twice themselves, twice their gradient,
// two moments, and the best so far; float32 all.
func (n *Network) trainedBytes(cfg Config) int64 {
	var numbers int64
	for _, l := range cfg.Layers {
		for _, m := range n.Matrices(l) {
			switch {
			case !cfg.targets(m.Name):
			case cfg.Scales:
				numbers += int64(m.In) * int64(m.Out) / 16 // a scale and a minimum for 32 numbers, at most
			case cfg.Dense:
				numbers += int64(m.In) * int64(m.Out)
			default:
				numbers += int64(cfg.Rank) * int64(m.In+m.Out)
			}
		}
	}
	if cfg.Head {
		numbers += int64(n.Hidden) * int64(n.Vocabulary)
	}
	return 7 * 4 * numbers
}

// workBytes is what one micro-batch takes while it is computed.
func (n *Network) workBytes(cfg Config, length int) int64 {
	tokens := int64(cfg.Batch / cfg.Accumulate * length)
	var layers, widest, matrix int64
	for l := cfg.First; l < len(n.Layers); l++ {
		layers += n.activations(l, cfg, length)
		widest = max(widest, n.activations(l, cfg, length))
		for _, m := range n.Matrices(l) {
			matrix = max(matrix, int64(m.In)*int64(m.Out))
		}
	}
	if cfg.Recompute != RecomputeNothing {
		layers = int64(len(n.Layers)-cfg.First)*int64(n.Hidden) + 2*widest
	}
	if cfg.Recompute == RecomputeSelective {
		for l := cfg.First; l < len(n.Layers); l++ {
			for _, m := range n.Matrices(l) {
				layers += int64(m.Out)
			}
		}
	}
	work := 4 * (tokens*layers + 2*matrix)
	if cfg.Loss != LossHidden {
		slice := int64(sliceTokens(int(tokens), n.Vocabulary))
		work += 4 * int64(n.Vocabulary) * (4*slice + int64(n.Hidden)) // logits, and the output matrix unpacked
	}
	return work
}

// activations is how many numbers of a layer the backward pass needs of each token.
func (n *Network) activations(l int, cfg Config, length int) int64 {
	layer := n.Layers[l]
	queries, keys := layer.Heads*n.HeadSize, layer.KVHeads*n.HeadSize
	numbers := 6*n.Hidden + 3*queries + 4*keys + 3*layer.Heads*length + 5*layer.FeedForward
	if cfg.Dropout > 0 {
		for _, m := range n.Matrices(l) {
			numbers += m.In
		}
	}
	return int64(numbers)
}
