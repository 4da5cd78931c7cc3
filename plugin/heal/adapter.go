package heal

import (
	"context"
	"path/filepath"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
	"pare/repair"
)

const adapterName = "adapter.gguf"

// adapter writes what was learnt into a file of its own, and for the judge, which knows
// no adapters, a model with it merged in F16.
func (t school) adapter(ctx context.Context, trained repair.Result, event func(plugin.Event), result *Result) error {
	path := filepath.Join(t.Folder, adapterName)
	w, err := convert.WriteAdapter(ctx, t.src, path, trained.Changes)
	if err != nil {
		return err
	}
	exact := map[string]gguf.TensorType{}
	for _, c := range trained.Changes {
		exact[c.Name] = gguf.F16
	}
	m, err := t.merged(ctx, mergedName, trained, convert.MergeConfig{Promote: exact, Repair: t.said()}, "to judge it", event)
	if err != nil {
		return err
	}
	result.Stages = append(result.Stages, m.Stage)
	result.Adapter = plugin.File{Path: path, Digest: w.Digest}
	result.Repaired.Adapter = &plugin.Adapter{Tensors: w.Tensors, Parameters: w.Parameters, Bytes: w.Bytes}
	return nil
}
