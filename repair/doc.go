// Package repair heals a model that lost layers, on the GGUF itself: first in
// closed form, then by training low-rank adapters over the weights as they are
// stored. What it learns from is what the uncut model computes.
//
//	backend.go   XLA: where its plugin is, and which device
//	network.go   what a model is made of (package convert reads it from the file)
//	weights.go   what a graph asks of weights; stored.go those of a file, packed as there
//	block.go     one decoder block as a graph; rope.go, norm.go, attention.go beside it
//	model.go     the blocks above the cut, from residual or token to residual
//	lora.go      low-rank adapters; dropout.go before them
//	loss.go      what is minimised, over the vocabulary in slices
//	adamw.go     the optimiser; schedule.go its rate
//	example.go   what is learnt from; batch.go packs it into steps
//	config.go    what is trained, and how; memory.go what that takes
//	student.go   a model in training as a graph
//	train.go     the loop; checkpoint.go what it leaves behind and goes on from; result.go what comes of it
//	held.go      the loss of a model as it is
//	inputs.go    what matrices multiply, so that rounding them can spare what counts
//	linear.go    the closed form
//
// Dimensions: B sequences of T tokens, H hidden width, N query heads, K key and
// value heads of width D, F feed-forward width, V vocabulary, R rank.
package repair
