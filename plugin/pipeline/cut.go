package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
)

// cuttingVersion is the version of cut.json; others are made anew.
const cuttingVersion = 2

// A cutting is a finished cut.gguf and what it was made from, kept as cut.json.
type cutting struct {
	Version int               `json:"version"`
	Pare    string            `json:"pare"`   // version that made it, and stands in the file
	Parent  string            `json:"parent"` // digest of the GGUF
	Cut     convert.CutResult `json:"cut"`
}

// cut makes cut.gguf in the job's folder, or finds the one an earlier try made.
func (p Pipeline) cut(ctx context.Context, m plugin.Model, src *gguf.File, plan plugin.Plan, folder string, event func(plugin.Event)) (cutting, error) {
	path := filepath.Join(folder, "cut.gguf")
	if c, ok := p.finished(m, plan, folder); ok {
		return c, nil
	}
	if err := sweepTemporary(folder); err != nil {
		return cutting{}, err
	}
	result, err := convert.Cut(ctx, src, path, convert.CutConfig{
		Remove: plan.Remove,
		Provenance: convert.Provenance{
			Parent: m.Digest, Criterion: plan.Criterion, TracedTokens: plan.Tokens, Version: p.Version,
		},
	}, func(done, total int64) {
		event(plugin.Event{Stage: "cut", Status: "cutting", Completed: done, Total: total})
	})
	if err != nil {
		return cutting{}, err
	}
	c := cutting{Version: cuttingVersion, Pare: p.Version, Parent: m.Digest, Cut: result}
	return c, save(filepath.Join(folder, "cut.json"), c)
}

// finished returns the cut of an earlier try, if this version of Pare made it of
// this plan, and it is whole.
func (p Pipeline) finished(m plugin.Model, plan plugin.Plan, folder string) (cutting, bool) {
	var c cutting
	if !saved(filepath.Join(folder, "cut.json"), &c) || c.Version != cuttingVersion || c.Pare != p.Version {
		return c, false
	}
	if c.Parent != m.Digest || !slices.Equal(c.Cut.Removed, plan.Remove) {
		return c, false
	}
	return c, gguf.HasDigest(filepath.Join(folder, "cut.gguf"), c.Cut.Digest)
}

// sweepTemporary deletes what a killed try left half-written. A plugin that dies is
// started again for the same job in the same folder, and without this each try
// would leave a file as large as the model. The folder may have any name, so it is
// listed and not matched by a pattern.
func sweepTemporary(folder string) error {
	left, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("clean up the job's folder: %w", err)
	}
	for _, f := range left {
		if !strings.HasPrefix(f.Name(), ".") || !strings.HasSuffix(f.Name(), ".tmp") {
			continue
		}
		if err := os.Remove(filepath.Join(folder, f.Name())); err != nil {
			return fmt.Errorf("clean up the job's folder: %w", err)
		}
	}
	return nil
}
