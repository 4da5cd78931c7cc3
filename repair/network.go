package repair

import (
	"fmt"

	"pare/convert"
	"pare/gguf"
)

// A Network is a decoder as a graph: its architecture, read from a file. Its methods
// build the graph and take the weights as [Weights]. They panic where a graph cannot be
// built, as gomlx does; gomlx turns that into the error of what runs the graph.
type Network struct {
	convert.Network
}

// NewNetwork reads what f computes. The error wraps [convert.ErrNoNetwork] where only
// closed-form repair works.
func NewNetwork(f *gguf.File) (*Network, error) {
	n, err := convert.NetworkOf(f)
	if err != nil {
		return nil, fmt.Errorf("build graph: %w", err)
	}
	return &Network{n}, nil
}
