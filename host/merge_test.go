package host

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ollama/ollama/manifest"

	"pare/host/client"
	"pare/plugin"
)

// merging are jobs in a store whose model "adapted" has an adapter beside "parent"'s
// weights, done by p.
func merging(t *testing.T, p *scripted) (js *jobs, adapter manifest.Layer) {
	t.Helper()
	js = testJobs(t, p)
	adapter = putBlob(t, mediaAdapter, []byte("adapter"))
	putModel(t, "adapted", tiny(t, 8, 1), adapter)
	return js, adapter
}

// merges registers, as the result, a file of its own.
func merges(t *testing.T, during func(h plugin.Host)) *scripted {
	return &scripted{merge: func(ctx context.Context, r plugin.MergeRequest, h plugin.Host) (plugin.Merged, error) {
		m, err := h.Model(ctx, r.Model)
		if err != nil {
			return plugin.Merged{}, err
		}
		during(h)
		made, err := h.Register(ctx, finishedIn(t, r.Folder, r.Model, r.Name, tiny(t, 8, 2)))
		merged := plugin.Merged{Job: r.ID, Digest: m.Adapter.Digest, Result: plugin.MergedModel{Name: made.Name}}
		if err == nil {
			err = os.WriteFile(filepath.Join(r.Folder, "report.json"), []byte(`{"job": "`+r.ID+`", "result": {"name": "merged"}}`), 0o600)
		}
		return merged, err
	}}
}

func TestMergeLeavesTheAdapterOut(t *testing.T) {
	js, adapter := merging(t, merges(t, func(h plugin.Host) {
		if _, err := h.Tokenize(t.Context(), "adapted", []string{"a"}); plugin.KindOf(err) != plugin.Refused {
			t.Errorf("a model that cannot be scored with its adapter: %v", err)
		}
		if m, err := h.Model(t.Context(), "parent"); err != nil || m.Adapter != (plugin.File{}) {
			t.Errorf("a model without an adapter: %+v, %v", m, err)
		}
	}))
	j, err := js.merge(client.MergeRequest{Model: "adapted", Name: "merged"})
	last, err := finish(t, j, err)
	if err != nil || last.Merged.Digest != adapter.Digest {
		t.Fatalf("%+v, %v", last.Merged, err)
	}
	s, err := lookUp("model", "merged") // which refuses models with adapters
	if err != nil {
		t.Fatal(err)
	}
	if b, err := readBlob(s.rest()[0].Digest); err != nil || string(b) != "{{ .Prompt }}" || len(s.manifest.Layers) != 2 {
		t.Errorf("layers %+v, template %q, %v", s.manifest.Layers, b, err)
	}
	if got := state1(t, js); got.Kind != client.KindMerge || got.State != client.Done || got.Model != "adapted:latest" || got.Name != "merged:latest" {
		t.Errorf("kept as %+v", got)
	}
	again, err := js.join(j.id)
	if told, err := finish(t, again, err); err != nil || told.Merged == nil || told.Merged.Result.Name != "merged" {
		t.Errorf("told once more: %+v, %v", told, err)
	}
	if _, err := js.page(j.id); plugin.KindOf(err) != plugin.NotFound {
		t.Errorf("its report: %v", err)
	}
}

func TestMergeOfAReplacedModel(t *testing.T) {
	for what, replace := range map[string]func(t *testing.T){
		"another adapter": func(t *testing.T) { putModel(t, "adapted", tiny(t, 8, 1), putBlob(t, mediaAdapter, []byte("other"))) },
		"no adapter":      func(t *testing.T) { putModel(t, "adapted", tiny(t, 8, 1)) },
		"other weights":   func(t *testing.T) { putModel(t, "adapted", tiny(t, 8, 3), putBlob(t, mediaAdapter, []byte("adapter"))) },
	} {
		js, _ := merging(t, merges(t, func(plugin.Host) { replace(t) }))
		j, err := js.merge(client.MergeRequest{Model: "adapted", Name: "merged"})
		if _, err := finish(t, j, err); plugin.KindOf(err) != plugin.Unavailable || !strings.Contains(err.Error(), "was replaced") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := find("model", "merged"); plugin.KindOf(err) != plugin.NotFound {
			t.Errorf("%s: a model was made: %v", what, err)
		}
	}
}

func TestMergeIsCheckedBeforeAnythingIsWritten(t *testing.T) {
	js, adapter := merging(t, &scripted{})
	putModel(t, "twice", tiny(t, 8, 1), adapter, putBlob(t, mediaAdapter, []byte("other")))
	gone := putBlob(t, mediaAdapter, []byte("gone"))
	putModel(t, "lost", tiny(t, 8, 1), gone)
	if path, err := manifest.BlobsPath(gone.Digest); err != nil || os.Remove(path) != nil {
		t.Fatal(err)
	}
	for says, r := range map[string]client.MergeRequest{
		"no adapter to merge":                         {Model: "parent", Name: "merged"},
		"adapter of model \"lost:latest\" is missing": {Model: "lost", Name: "merged"},
		"has 2 adapters":                              {Model: "twice", Name: "merged"},
		"cannot replace":                              {Model: "adapted", Name: "adapted", Force: true},
		"exists already":                              {Model: "adapted", Name: "parent"},
		"name is missing":                             {Model: "adapted"},
		"not found":                                   {Model: "elsewhere", Name: "merged"},
	} {
		if _, err := js.merge(r); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", r, err, says)
		}
	}
	if list := js.list(); len(list) != 0 {
		t.Errorf("jobs were kept: %+v", list)
	}
}
