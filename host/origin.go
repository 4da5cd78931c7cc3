package host

import (
	"fmt"
	"strings"

	"github.com/ollama/ollama/fs/gguf"
	"github.com/ollama/ollama/manifest"

	"pare/host/client"
	"pare/plugin"
	"pare/plugin/layers"
)

// origin tells where a cut model comes from, by the keys that its file holds: the
// digest of the file that was cut, the layers that went, and cuts before that one.
func origin(name string) (client.Origin, error) {
	s, err := find("model", name)
	if err != nil {
		return client.Origin{}, err
	}
	name = s.name.DisplayShortest()
	if len(s.adapters) > 0 {
		return client.Origin{}, &plugin.Error{
			Kind: plugin.Refused, Err: fmt.Errorf("model %q has an adapter, which a repair would lose as it begins with the uncut model", name),
			Hint: "repair the model as it is without the adapter",
		}
	}
	keys, err := provenance(s)
	if err != nil {
		return client.Origin{}, err
	}
	o := client.Origin{Model: name, Digest: keys["pare.parent.digest"].String()}
	var removed []int
	for _, l := range keys["pare.removed_layers"].Uints() {
		removed = append(removed, int(l))
	}
	switch {
	case o.Digest == "" || len(removed) == 0:
		return o, &plugin.Error{
			Kind: plugin.Refused, Err: fmt.Errorf("model %q was not cut by Pare", name),
			Hint: "cut and repair a model in one go with `pare prune`, or name one that was cut",
		}
	case keys["pare.adapter"].String() != "":
		return o, &plugin.Error{
			Kind: plugin.Refused, Err: fmt.Errorf("model %q was cut and then had an adapter merged into it, which a repair would lose as it begins with the uncut model", name),
			Hint: "repair the model as it was before that",
		}
	case len(keys["pare.history"].Strings()) > 0:
		return o, &plugin.Error{
			Kind: plugin.Refused, Err: fmt.Errorf("model %q was cut more than once, and what it is repaired after is the one model before all cuts", name),
			Hint: "cut that model anew with `pare prune`, all layers at once",
		}
	}
	o.Removed = layers.Format(removed)
	o.Quantize = keys["pare.quantize"].String()
	if o.Parent, err = parentOf(s, o.Digest); err != nil {
		return o, fmt.Errorf("find the model that %s was cut from: %w", name, err)
	}
	return o, nil
}

// provenance is what Pare wrote into a model's file.
func provenance(s stored) (map[string]gguf.Value, error) {
	g, err := gguf.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("read the GGUF of %s: %w", s.name.DisplayShortest(), err)
	}
	defer g.Close()
	keys := map[string]gguf.Value{}
	for _, kv := range g.KeyValues() {
		if strings.HasPrefix(kv.Key, "pare.") {
			keys[kv.Key] = kv.Value
		}
	}
	return keys, nil
}

// parentOf is the name of the model that s was cut from, whose GGUF has the given digest.
// Of several with that file it is one with the template, parameters and so on that s
// has from its parent, if there is one, and of those the first in the alphabet.
func parentOf(s stored, digest string) (string, error) {
	all, err := manifest.Manifests(true)
	if err != nil {
		return "", fmt.Errorf("read the store: %w", err)
	}
	best, like := "", false
	for n := range all {
		p, err := lookUp("model", n.String())
		if err != nil || p.gguf.Digest != digest {
			continue
		}
		name, same := p.name.DisplayShortest(), sameBeside(p, s)
		if best == "" || same && !like || same == like && name < best {
			best, like = name, same
		}
	}
	if best == "" {
		return "", &plugin.Error{
			Kind: plugin.NotFound, Err: fmt.Errorf("no model in the store has the GGUF %s", digest),
			Hint: "pull or create that model again: a cut model is repaired after what it was cut from",
		}
	}
	return best, nil
}
