package convert

// A Change is what a repair does to one matrix of a model: W' = W + Scale·B·A, or
// W' = Dense where that is set, or where Scales are, W with other scales and minima of
// its blocks (quant.Rescale). W has Out rows of In numbers, as ggml stores it.
type Change struct {
	Name    string // of the tensor, "blk.7.ffn_down.weight"
	Out, In int
	Rank    int
	Scale   float32   // alpha/rank
	A       []float32 // Rank×In, row by row
	B       []float32 // Out×Rank
	Dense   []float32 // Out×In, in place of the product

	Scales, Minima []float32 // Out×In/block, what 1 is added to
}
