package engine

import (
	"context"
	"fmt"

	"pare/host/score"
	"pare/plugin"
)

// footprintTokens is the length of the prompt after which a footprint is taken.
const footprintTokens = 512

// footprint measures this process when it has run a prompt through one model and
// done nothing else. It tells where the model went.
func (e *engine) footprint(ctx context.Context, path string, opened func(score.Opened) error) (plugin.Footprint, error) {
	before := gpuMemory(gpus())
	f, err := readFile(path)
	if err != nil {
		return plugin.Footprint{}, err
	}
	n := footprintTokens
	if f.trained > 0 {
		n = min(n, f.trained)
	}
	list, err := e.open([]score.Model{{Path: path}}, n, false)
	if err != nil {
		return plugin.Footprint{}, err
	}
	if err := opened(list[0]); err != nil {
		return plugin.Footprint{}, err
	}
	m := e.models[path]
	if err := e.use(m, nil); err != nil {
		return plugin.Footprint{}, err
	}
	tokens := make([]int32, n) // any will do
	for i := range tokens {
		tokens[i] = int32(i % m.handle.NumVocab())
	}
	if _, err := m.forward(ctx, tokens, n-1, func(int, [][]float32) error { return nil }); err != nil {
		return plugin.Footprint{}, err
	}
	resident, err := residentBytes()
	if err != nil {
		return plugin.Footprint{}, fmt.Errorf("measure memory: %w", err)
	}
	return plugin.Footprint{
		Resident:      resident,
		Device:        max(0, before-gpuMemory(m.devices)),
		KVPerToken:    f.kvPerToken,
		ContextTokens: n,
	}, nil
}
