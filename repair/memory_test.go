package repair

import (
	"slices"
	"testing"

	"pare/convert"
	"pare/gguf"
)

// What was measured: the peak of the process, on two cores, of four steps of four
// examples of 256 tokens on SmolLM2-135M (Q4_1) with six of its layers cut,
// in pages of 2 MB.
func TestEstimateOfWhatWasMeasured(t *testing.T) {
	layer := convert.Layer{Heads: 9, KVHeads: 3, FeedForward: 1536}
	n := &Network{convert.Network{Hidden: 576, Vocabulary: 49152, HeadSize: 64, Layers: slices.Repeat([]convert.Layer{layer}, 24)}}
	const megabyte = 1 << 20
	for name, c := range map[string]struct {
		cfg      Config
		weights  int64 // as they are stored
		measured int64
	}{
		"above the cut":             {Config{First: 12}, 80 * megabyte, 1791 * megabyte},
		"above the cut, no head":    {Config{First: 12, Loss: LossHidden}, 32 * megabyte, 1421 * megabyte},
		"above the cut, dropout":    {Config{First: 12, Dropout: 0.05}, 80 * megabyte, 2104 * megabyte},
		"above the cut, recomputed": {Config{First: 12, Recompute: RecomputeFull}, 80 * megabyte, 1057 * megabyte},
		"above the cut, selective":  {Config{First: 12, Recompute: RecomputeSelective}, 80 * megabyte, 1265 * megabyte},
		"all layers, selective":     {Config{Recompute: RecomputeSelective}, 112 * megabyte, 1659 * megabyte},
		"all layers":                {Config{}, 112 * megabyte, 2679 * megabyte},
	} {
		c.cfg.Rank = 8
		cfg := c.cfg.withDefaults(n)
		got := programBytes + c.weights + n.trainedBytes(cfg) + n.workBytes(cfg, 256)
		near(t, name+": estimate, as a share of what was measured", float64(got)/float64(c.measured), 1, 0.1)
	}
}

func TestEstimateCountsWeights(t *testing.T) {
	n, f, _ := tiny(t, 1, false)
	small, whole := Estimate(n, f, Config{Rank: 4, First: 3}, 24, false), Estimate(n, f, Config{Rank: 4}, 24, true)
	dense := Estimate(n, f, Config{Dense: true}, 24, true)
	if !(programBytes < small && small < whole && whole < dense) {
		t.Errorf("%d bytes for a layer, %d for all, %d for all in full", small, whole, dense)
	}
}

func TestEstimateOfCodeBooks(t *testing.T) {
	shape := []uint64{256, 8}
	if got, want := packedBytes(gguf.Tensor{Type: gguf.IQ2_XS, Shape: shape}, 0), packedBytes(gguf.Tensor{Type: gguf.Q4_K, Shape: shape}, 0); got != want {
		t.Errorf("IQ2_XS takes %d bytes, what it is stored in before %d", got, want)
	}
}
