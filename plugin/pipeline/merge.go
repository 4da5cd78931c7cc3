package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
)

// Merge implements plugin.Pruner.
func (p Pipeline) Merge(ctx context.Context, r plugin.MergeRequest, h plugin.Host, event func(plugin.Event)) (plugin.Merged, error) {
	m, err := p.merge(ctx, r, h, event)
	return m, kinded(err)
}

func (p Pipeline) merge(ctx context.Context, r plugin.MergeRequest, h plugin.Host, event func(plugin.Event)) (plugin.Merged, error) {
	m, err := h.Model(ctx, r.Model)
	if err != nil {
		return plugin.Merged{}, err
	}
	// The server deletes it if this does not come to its end.
	path := filepath.Join(r.Folder, ".merged.gguf")
	out, err := mergeAdapter(ctx, m, path, h, event)
	if err != nil {
		return out, err
	}
	event(plugin.Event{Stage: "register", Status: "registering " + r.Name})
	made, err := h.Register(ctx, plugin.RegisterRequest{Parent: m.Name, Name: r.Name, Path: path, Digest: out.Result.Digest, Force: r.Force})
	if err != nil {
		return out, err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) { // the store may have moved it
		return out, fmt.Errorf("clean up the job's folder: %w", err)
	}
	out.Version, out.Job, out.Result.Name = 1, r.ID, made.Name
	return out, save(filepath.Join(r.Folder, "report.json"), out)
}

// mergeAdapter writes the model at path.
func mergeAdapter(ctx context.Context, m plugin.Model, path string, h plugin.Host, event func(plugin.Event)) (plugin.Merged, error) {
	src, err := gguf.Open(m.Path)
	if err != nil {
		return plugin.Merged{}, fmt.Errorf("read the GGUF of %s: %w", m.Name, err)
	}
	defer src.Close()
	adapter, err := gguf.Open(m.Adapter.Path)
	if err != nil {
		return plugin.Merged{}, fmt.Errorf("read the adapter of %s: %w", m.Name, err)
	}
	defer adapter.Close()
	changes, leftOut, err := convert.ReadAdapter(adapter, src)
	if errors.Is(err, convert.ErrOtherBase) {
		return plugin.Merged{}, &plugin.Error{
			Kind: plugin.Refused, Err: fmt.Errorf("the adapter of %s: %w", m.Name, err),
			Hint: "make the model again, FROM what the adapter was trained on",
		}
	} else if err != nil {
		return plugin.Merged{}, plugin.Errorf(plugin.Refused, "the adapter of %s: %w", m.Name, err)
	}
	r, err := convert.Merge(ctx, src, path, changes, convert.MergeConfig{
		Adapter: m.Adapter.Digest, Promote: convert.Wider(src, changes),
		Floats: func(t gguf.TensorType, rows []byte) ([]float32, error) { return h.Floats(ctx, uint32(t), rows) },
	}, func(done, total int64) {
		event(plugin.Event{Stage: "merge", Status: "merging the adapter", Completed: done, Total: total})
	})
	if err != nil {
		return plugin.Merged{}, err
	}
	out := plugin.Merged{
		Model:   plugin.MergedModel{Name: m.Name, Digest: m.Digest, Bytes: m.Size},
		Result:  plugin.MergedModel{Digest: r.Digest, Bytes: r.BytesAfter},
		Adapter: plugin.Adapter{Tensors: len(changes), Bytes: adapter.Size}, Digest: m.Adapter.Digest,
	}
	for _, c := range changes {
		out.Adapter.Parameters += uint64(len(c.A) + len(c.B))
	}
	if n := len(r.Promoted); n > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d of the %d changed matrices are stored in Q8_0, as fewer bits would round the adapter away; `pare prune --quantize` can make them small again", n, len(r.Changed)))
	}
	if len(leftOut) > 0 {
		out.Notes = append(out.Notes, "norms that the adapter changes are left as they were, as the server leaves them when it applies it: "+strings.Join(leftOut, ", "))
	}
	return out, nil
}
