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

// mergingVersion is the version of merged.json and of a merge's report.json.
const mergingVersion = 1

// Merge implements plugin.Pruner.
func (p Pipeline) Merge(ctx context.Context, r plugin.MergeRequest, h plugin.Host, event func(plugin.Event)) (plugin.Merged, error) {
	m, err := merge(ctx, r, h, event)
	return m, kinded(err)
}

func merge(ctx context.Context, r plugin.MergeRequest, h plugin.Host, event func(plugin.Event)) (plugin.Merged, error) {
	m, err := h.Model(ctx, r.Model)
	if err != nil {
		return plugin.Merged{}, err
	}
	out, err := mergedModel(ctx, m, r.Folder, h, event)
	if err != nil {
		return out, err
	}
	path, kept := mergedPaths(r.Folder)
	event(plugin.Event{Stage: "register", Status: "registering " + r.Name})
	made, err := h.Register(ctx, plugin.RegisterRequest{Parent: m.Name, Name: r.Name, Path: path, Digest: out.Result.Digest, Force: r.Force})
	if err != nil {
		return out, err
	}
	out.Job, out.Result.Name = r.ID, made.Name
	if err := save(filepath.Join(r.Folder, "report.json"), out); err != nil {
		return out, err
	}
	for _, done := range []string{kept, path} { // the store may have moved the file
		if err := os.Remove(done); err != nil && !errors.Is(err, os.ErrNotExist) {
			return out, fmt.Errorf("clean up the job's folder: %w", err)
		}
	}
	return out, nil
}

// mergedPaths are where the merged model stands until it is registered, and what is
// kept of how it was made.
func mergedPaths(folder string) (model, kept string) {
	return filepath.Join(folder, "merged.gguf"), filepath.Join(folder, "merged.json")
}

// mergedModel makes merged.gguf in the job's folder, or finds the one an earlier try
// made of the same files.
func mergedModel(ctx context.Context, m plugin.Model, folder string, h plugin.Host, event func(plugin.Event)) (plugin.Merged, error) {
	path, kept := mergedPaths(folder)
	var before plugin.Merged
	if saved(kept, &before) && before.Version == mergingVersion && before.Model.Digest == m.Digest &&
		before.Digest == m.Adapter.Digest && gguf.HasDigest(path, before.Result.Digest) {
		return before, nil
	}
	if err := sweepTemporary(folder); err != nil {
		return plugin.Merged{}, err
	}
	out, err := mergeAdapter(ctx, m, path, h, event)
	if err != nil {
		return out, err
	}
	return out, save(kept, out)
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
		return plugin.Merged{}, fmt.Errorf("the adapter of %s: %w", m.Name, err)
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
		Version: mergingVersion,
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
