package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	"pare/convert"
	"pare/plugin"
	"pare/plugin/layers"
	"pare/plugin/phrase"
	"pare/plugin/profile"
	"pare/plugin/traffic"
)

// textOf is the corpus that losses are compared on: Pare's own where layers are chosen
// by traffic, of which no text is kept.
func textOf(c plugin.Corpus) plugin.Corpus {
	if c.Live {
		return plugin.Corpus{}
	}
	return c
}

// measureLive makes a profile of a model's traffic. It traces nothing.
func measureLive(m plugin.Model, shape convert.Model, c plugin.Corpus) (plugin.Profile, []plugin.TraceDelta, error) {
	rows, err := traffic.Read(c.Path)
	if err != nil {
		return plugin.Profile{}, nil, err
	}
	chunks := traffic.Pick(rows, "")
	all, err := traffic.Sum(chunks)
	if err != nil {
		return plugin.Profile{}, nil, err
	}
	deltas := traffic.Deltas(m.Digest, chunks)
	if all.Delta.All.Tokens == 0 {
		return plugin.Profile{}, nil, plugin.Errorf(plugin.NotFound, "no traffic of %s was measured", m.Name)
	}
	prof, err := profile.New(deltas)
	if err == nil {
		err = sameLayers(m, shape, prof)
	}
	if err != nil {
		return plugin.Profile{}, nil, err
	}
	data, err := os.ReadFile(c.Path)
	if err != nil {
		return plugin.Profile{}, nil, fmt.Errorf("read traffic: %w", err)
	}
	sum := sha256.Sum256(data)
	prof.Model, prof.Architecture, prof.Trace = m.Digest, shape.Architecture, "sha256:"+hex.EncodeToString(sum[:])
	prof.Corpora = []plugin.CorpusInfo{{
		Name: c.Name, Digest: prof.Trace, Documents: int(all.Requests), From: &all.From, To: &all.To,
	}}
	return prof, deltas, nil
}

// noteLive says what traffic layers were chosen by, and how it differs from the text of
// the kept profile.
func (c choice) noteLive(plan *plugin.Plan, prof plugin.Profile, folder string) error {
	info := prof.Corpora[0]
	const minute = "2006-01-02 15:04"
	note := func(format string, args ...any) {
		plan.Notes = append(slices.Clone(plan.Notes), fmt.Sprintf(format, args...))
	}
	note("distances are of %s: %s of %s, %s to %s UTC", info.Name, phrase.Many(prof.Tokens, "token"), phrase.Many(int64(info.Documents), "request"), info.From.Format(minute), info.To.Format(minute))
	if len(plan.Text) > 0 {
		of := "Pare's own text"
		if name := plan.Text[0].Name; name != defaultCorpus {
			of = "the text of " + name // by which a plan was made before
		}
		note("losses are of %s: of traffic no text is kept", of)
	}
	if len(c.selection.Remove) > 0 {
		return nil // they were named: no text favours others
	}
	c.selection.Criterion = "angular"
	byTraffic, err := c.plan()
	if err != nil {
		return err
	}
	text := c
	text.chunks, text.trace, err = keptTrace(folder, c.model)
	if errors.Is(err, errLost) || err == nil && len(text.chunks) == 0 {
		note("no profile of text is kept to compare with; `pare profile` makes one")
		return nil
	}
	if err != nil {
		return err
	}
	byText, err := text.plan()
	if err != nil {
		return err
	}
	if slices.Equal(byTraffic.Remove, byText.Remove) {
		note("by distance alone this traffic and the text of the kept profile favour the same layers, %s", layers.Format(byText.Remove))
		return nil
	}
	note("by distance alone this traffic favours layers %s, and the text of the kept profile layers %s", favoured(byTraffic), favoured(byText))
	return nil
}

// favoured names the layers that a plan removes, and how sure it is of them.
func favoured(p plugin.Plan) string {
	s := layers.Format(p.Remove)
	if p.Chunks > 1 { // of one there is nothing to draw
		s += fmt.Sprintf(", in %.0f%% of resamplings", 100*p.Chosen.Wins)
	}
	return s
}
