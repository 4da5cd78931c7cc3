package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/google/renameio/v2"

	"pare/convert"
	"pare/plugin"
	"pare/plugin/corpus"
	"pare/plugin/profile"
)

// Profile implements plugin.Pruner.
func (p Pipeline) Profile(ctx context.Context, r plugin.ProfileRequest, h plugin.Host, event func(plugin.Event)) (plugin.Profile, error) {
	m, err := h.Model(ctx, r.Model)
	if err != nil {
		return plugin.Profile{}, err
	}
	f, shape, err := open(m)
	if err != nil {
		return plugin.Profile{}, kinded(err)
	}
	f.Close()
	before, _ := plugin.LoadProfile(r.Folder, m.Digest)
	prof, _, err := measure(ctx, m, shape, r, h, event)
	if err != nil {
		return prof, kinded(err)
	}
	if !r.Corpus.Live && !reflect.DeepEqual(prof, before) { // traffic is kept as it is, and goes on
		err = keep(r.Folder, prof)
	}
	return prof, kinded(err)
}

// keep makes a profile the one that is kept of its model.
func keep(folder string, prof plugin.Profile) error {
	return save(filepath.Join(plugin.ProfileFolder(folder, prof.Model), "profile.json"), prof)
}

// measure traces what is missing for a request and returns the profile, with the
// measurements behind it, one for each chunk of text. The kept profile stays.
func measure(ctx context.Context, m plugin.Model, shape convert.Model, r plugin.ProfileRequest, h plugin.Host, event func(plugin.Event)) (plugin.Profile, []plugin.TraceDelta, error) {
	if r.Corpus.Live {
		return measureLive(m, shape, r.Corpus)
	}
	folder := plugin.ProfileFolder(r.Folder, m.Digest)
	kept, err := plugin.LoadProfile(r.Folder, m.Digest)
	if err != nil && !errors.Is(err, plugin.ErrNoProfile) {
		return plugin.Profile{}, nil, err
	}
	fs, err := readFrames(folder)
	if err != nil {
		return plugin.Profile{}, nil, err
	}
	// What is known is told beside a job that adds to it.
	if !stands(r, kept, fs) {
		if fs, err = openFrames(folder); err != nil {
			return plugin.Profile{}, nil, err
		}
		defer fs.Close()
	}
	corpora, docs, err := wanted(r, kept, fs)
	if err != nil {
		return plugin.Profile{}, nil, err
	}
	if len(docs) > 0 {
		if err := noteUsed(folder, docs); err != nil {
			return plugin.Profile{}, nil, err
		}
	}
	texts := textsOf(docs)
	_, missing := fs.coveringAll(corpora)
	if err := fs.traceMissing(ctx, m, missing, texts, h, event); err != nil {
		return plugin.Profile{}, nil, err
	}
	found, missing := fs.coveringAll(corpora)
	if len(missing) > 0 {
		return plugin.Profile{}, nil, plugin.Errorf(plugin.Unavailable, "%d texts were not traced; ask again", len(missing))
	}
	event(plugin.Event{Stage: "profile", Status: "computing the profile"})
	chunks, digest := deltas(found)
	prof, err := profile.New(chunks)
	if err != nil {
		return plugin.Profile{}, nil, err
	}
	if prof.Tokens == 0 {
		return plugin.Profile{}, nil, plugin.Errorf(plugin.Invalid, "the corpus is too short: beside the first of each piece, which is left out, it has no token; give some paragraphs of text")
	}
	if err := sameLayers(m, shape, prof); err != nil {
		return plugin.Profile{}, nil, err
	}
	prof.Model, prof.Architecture, prof.Corpora, prof.Trace = m.Digest, shape.Architecture, corpora, digest
	return prof, chunks, nil
}

// sameLayers refuses a profile of other layers than the file has.
func sameLayers(m plugin.Model, shape convert.Model, prof plugin.Profile) error {
	if prof.Layers == shape.Layers {
		return nil
	}
	return plugin.Errorf(plugin.Refused, "%s has %d layers and %d were seen at work; Pare cannot tell them apart and leaves the model as it is", m.Name, shape.Layers, prof.Layers)
}

// wanted decides which corpora a profile covers, and which documents may
// still have to be traced. Without a corpus in the request the kept profile
// stands; its texts are gone, so its frames must be there.
func wanted(r plugin.ProfileRequest, kept plugin.Profile, fs *frames) ([]plugin.CorpusInfo, []corpus.Document, error) {
	if stands(r, kept, fs) {
		return kept.Corpora, nil, nil
	}
	if r.Corpus == (plugin.Corpus{}) {
		kept.Corpora = nil // its frames are lost: begin again with Pare's own text
	}
	read, err := read(r.Corpus)
	if err != nil {
		return nil, nil, err
	}
	info, docs := read.chosen.info, read.chosen.docs
	if !r.Add || !complete(kept, fs) {
		return []plugin.CorpusInfo{info}, docs, nil
	}
	same := func(c plugin.CorpusInfo) bool { return c.Digest == info.Digest }
	if slices.ContainsFunc(kept.Corpora, same) {
		return kept.Corpora, docs, nil
	}
	return append(slices.Clone(kept.Corpora), info), docs, nil
}

// stands reports whether a request is for the kept profile, and all that is behind it is there.
func stands(r plugin.ProfileRequest, kept plugin.Profile, fs *frames) bool {
	return r.Corpus == (plugin.Corpus{}) && len(kept.Corpora) > 0 && complete(kept, fs)
}

// complete reports whether the frames of a kept profile are all there.
func complete(kept plugin.Profile, fs *frames) bool {
	_, missing := fs.coveringAll(kept.Corpora)
	return len(missing) == 0
}

// traceMissing runs those of the texts that are missing through the model. Progress
// is counted in bytes of text.
func (fs *frames) traceMissing(ctx context.Context, m plugin.Model, missing map[string]bool, texts []plugin.Text, h plugin.Host, event func(plugin.Event)) error {
	if len(missing) == 0 {
		return nil
	}
	sizes := map[string]int64{}
	var todo []plugin.Text
	e := plugin.Event{Stage: "trace", Status: "tracing the model at work"}
	for _, t := range texts {
		size := int64(len(t.Text))
		sizes[t.Digest] = size
		e.Total += size
		if missing[t.Digest] {
			todo = append(todo, t)
		} else {
			e.Completed += size
		}
	}
	event(e)
	return h.Trace(ctx, plugin.TraceRequest{Model: m.Name, Texts: todo}, func(d plugin.TraceDelta) error {
		if d.Model != m.Digest {
			return plugin.Errorf(plugin.Unavailable, "the model was replaced while it was traced; ask again")
		}
		if err := fs.Add(d); err != nil {
			return err
		}
		for _, t := range d.Texts {
			e.Completed += sizes[t]
		}
		event(e)
		return nil
	})
}

// save writes v as JSON, whole or not at all.
func save(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	if err := renameio.WriteFile(path, b, 0o600, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// saved reads what save wrote, and reports whether it could be read.
func saved(path string, into any) bool {
	b, err := os.ReadFile(path)
	return err == nil && json.Unmarshal(b, into) == nil
}
