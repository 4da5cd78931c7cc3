// Package repair heals a model that lost layers, on the GGUF itself: first in
// closed form, then by training low-rank adapters over the weights as they are
// stored. What it learns from is what the uncut model computes.
//
//	backend.go   XLA: where its plugin is, and which device
//	network.go   what a model is made of (package convert reads it from the file)
//	weights.go   the model's weights as tensors, packed as they are stored
//	block.go     one decoder block as a graph; rope.go, norm.go, attention.go beside it
//	model.go     the blocks above the cut, from residual or token to residual
//	lora.go      low-rank adapters
//	loss.go      what is minimised, over the vocabulary in slices
//	adamw.go     the optimiser; schedule.go its rate
//	batch.go     sequences packed into steps
//	train.go     the loop; checkpoint.go what it leaves behind and goes on from
//	linear.go    the closed form
//
// Dimensions: B sequences of T tokens, H hidden width, N query heads, K key and
// value heads of width D, F feed-forward width, V vocabulary, R rank.
package repair
