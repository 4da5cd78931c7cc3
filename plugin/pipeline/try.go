package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"pare/convert"
	"pare/plugin"
	"pare/plugin/corpus"
	"pare/plugin/profile"
	"pare/plugin/search"
)

// Losses are compared on short pieces of text, enough of them to tell blocks
// apart that differ by a few hundredths of a nat.
const (
	triedTokens = 4000 // at most
	triedWindow = 160
)

// tried is the text that losses were last compared on, kept beside the scores as
// text.json, so that a plan can be made from them again.
type tried struct {
	Version  int               `json:"version"`
	Info     plugin.CorpusInfo `json:"info"`
	Passages []triedPassage    `json:"passages"`
}

type triedPassage struct {
	Style  string `json:"style"`
	ID     string `json:"id"`
	Tokens int    `json:"tokens"`
}

const triedVersion = 1

// try chooses by running the model without the layers in question.
func (c choice) try(ctx context.Context, r plugin.ProfileRequest, h plugin.Host, event func(plugin.Event)) (plugin.Plan, error) {
	folder := plugin.ProfileFolder(r.Folder, c.model.Digest)
	b, err := openBook(folder)
	if err != nil {
		return plugin.Plan{}, err
	}
	defer b.Close()
	status := cmp.Or(c.status, "running the model without some layers")
	event(plugin.Event{Stage: "try", Status: status})
	read, err := read(textOf(r.Corpus))
	if err != nil {
		return plugin.Plan{}, err
	}
	if err := noteUsed(folder, read.chosen.docs); err != nil {
		return plugin.Plan{}, err
	}
	ps, err := c.passages(ctx, read.chosen.docs, h)
	if err != nil {
		return plugin.Plan{}, err
	}
	info := read.chosen.info
	text := describe(ps, info)
	if err := save(filepath.Join(folder, "text.json"), text); err != nil {
		return plugin.Plan{}, err
	}
	length, most := 0, 0
	for _, p := range ps {
		length += len(p.Tokens)
	}
	run := func(ctx context.Context, vs []variant, chosen []passage) error {
		return b.score(ctx, h, c.model, vs, chosen, func(int64) {})
	}
	plan, err := c.compareOn(ctx, ps, run, b, func(done, still int) {
		most = max(most, still)
		total := int64(most) * int64(length) / int64(len(ps))
		event(plugin.Event{Stage: "try", Status: status, Completed: total * int64(done) / int64(max(still, 1)), Total: total})
	})
	plan.Text = []plugin.CorpusInfo{info}
	if r.Corpus == (plugin.Corpus{}) && c.trace != "" && !c.tracedOn(r.Folder, info) {
		plan.Notes = append(plan.Notes, "distances are of the text that the profile was made from, losses of Pare's own: a user's text is not kept; --corpus goes by one text for both")
	}
	return plan, err
}

// tracedOn reports whether the kept profile covers a text.
func (c choice) tracedOn(folder string, info plugin.CorpusInfo) bool {
	kept, err := plugin.LoadProfile(folder, c.model.Digest)
	return err != nil || slices.ContainsFunc(kept.Corpora, func(k plugin.CorpusInfo) bool { return k.Digest == info.Digest })
}

// passages are what losses are compared on.
func (c choice) passages(ctx context.Context, docs []corpus.Document, h plugin.Host) ([]passage, error) {
	ps, err := shortPassages(ctx, h, c.model, firstOf(docs, triedTokens), min(triedWindow, windowOf(c.shape)))
	return upTo(ps, triedTokens), err
}

// firstOf is enough of documents to hold some tokens, however few bytes one takes.
func firstOf(docs []corpus.Document, tokens int) []corpus.Document {
	bytes := 0
	for i, d := range docs {
		if bytes += len(d.Text); bytes > 16*tokens {
			return docs[:i+1]
		}
	}
	return docs
}

// windowOf is how many tokens of a model are run at a time: fewer than usual for one
// that was made for fewer.
func windowOf(shape convert.Model) int {
	if n := shape.Context; n > 1 {
		return min(n, window)
	}
	return window
}

func describe(ps []passage, info plugin.CorpusInfo) tried {
	t := tried{Version: triedVersion, Info: info}
	for _, p := range ps {
		t.Passages = append(t.Passages, triedPassage{p.style, p.id, len(p.Tokens)})
	}
	return t
}

// loadText returns the text that losses were last compared on.
func loadText(folder string) (tried, error) {
	var t tried
	data, err := os.ReadFile(filepath.Join(folder, "text.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return t, errUntried
	}
	if err != nil {
		return t, fmt.Errorf("read what was tried: %w", err)
	}
	if err := json.Unmarshal(data, &t); err != nil || t.Version != triedVersion {
		return t, errUntried
	}
	return t, nil
}

// compare is compareOn for text that is known by its passages' names alone.
func (c choice) compare(ctx context.Context, text tried, run runner, b *book, progress func(done, most int)) (plugin.Plan, error) {
	ps := make([]passage, len(text.Passages))
	for i, p := range text.Passages {
		ps[i] = passage{style: p.Style, id: p.ID}
	}
	plan, err := c.compareOn(ctx, ps, run, b, progress)
	plan.Text = []plugin.CorpusInfo{text.Info}
	return plan, err
}

// A runner sees to it that variants were run on passages.
type runner func(ctx context.Context, vs []variant, ps []passage) error

// compareOn chooses by the losses on passages.
func (c choice) compareOn(ctx context.Context, ps []passage, run runner, b *book, progress func(done, most int)) (plugin.Plan, error) {
	in := search.Input{Profile: c.input()}
	for i := range ps {
		in.Chunks = append(in.Chunks, i)
	}
	if c.half > 0 {
		in.Chunks = profile.Half(in.Chunks, uint64(c.half))
	}
	return search.Select(ctx, in, c.selection, c.shape.CheckCut, func(ctx context.Context, sets [][]int, chunks []int) ([][]search.Loss, error) {
		vs := make([]variant, len(sets))
		for i, set := range sets {
			vs[i] = bypassing(set)
		}
		chosen := make([]passage, len(chunks))
		for i, n := range chunks {
			chosen[i] = ps[n]
		}
		if err := run(ctx, vs, chosen); err != nil {
			return nil, err
		}
		return b.losses(vs, chosen), nil
	}, progress)
}

// senseless is a log-loss, in nats a token, that says that a variant computes nothing of
// use: one that is no number counts as 100, and no guess at a token is as bad as that.
const senseless = 50

// losses are those of variants that were run on passages, infinite where a variant is
// broken.
func (b *book) losses(vs []variant, ps []passage) [][]search.Loss {
	out := make([][]search.Loss, len(vs))
	for i, v := range vs {
		for _, p := range ps {
			t, _ := b.find(p, v)
			l := search.Loss{Tokens: t.Sums.Tokens, NLL: t.Sums.NLL}
			if l.NLL > senseless*float64(l.Tokens) {
				l.NLL = math.Inf(1)
			}
			out[i] = append(out[i], l)
		}
	}
	return out
}
