package host

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/ollama/ollama/manifest"
	"github.com/ollama/ollama/types/model"

	"pare/plugin"
)

const (
	mediaModel   = "application/vnd.ollama.image.model"
	mediaAdapter = "application/vnd.ollama.image.adapter"
	mediaConfig  = "application/vnd.docker.container.image.v1+json"
)

// A stored model is a manifest and the GGUF it names.
type stored struct {
	name     model.Name
	manifest *manifest.Manifest
	gguf     manifest.Layer
	path     string
	adapters []plugin.File // beside it; Ollama adds up what they do
}

func (s stored) model() plugin.Model {
	return plugin.Model{Name: s.name.DisplayShortest(), Digest: s.gguf.Digest, Path: s.path, Size: s.gguf.Size, Adapter: s.adapter()}
}

// adapter is the one adapter of a model that has one.
func (s stored) adapter() plugin.File {
	if len(s.adapters) != 1 {
		return plugin.File{}
	}
	return s.adapters[0]
}

// alone refuses a model with adapters, which change all of its layers.
func (s stored) alone() error {
	name := s.name.DisplayShortest()
	switch n := len(s.adapters); n {
	case 0:
		return nil
	case 1:
		return &plugin.Error{
			Kind: plugin.Refused, Err: fmt.Errorf("model %q has an adapter, made for all of its layers", name),
			Hint: fmt.Sprintf("`pare merge %s NAME` makes one that has it in its weights", name),
		}
	default:
		return severalAdapters(name, n)
	}
}

func severalAdapters(name string, n int) error {
	return &plugin.Error{
		Kind: plugin.Refused, Err: fmt.Errorf("model %q has %d adapters", name, n),
		Hint: "create one with the first of them, `pare merge` it, create one FROM that with the next, and merge again",
	}
}

// parseName applies Ollama's rules for names.
func parseName(field, s string) (model.Name, error) {
	if s == "" {
		return model.Name{}, plugin.Errorf(plugin.Invalid, "%s is missing; give the name of a model", field)
	}
	n := model.ParseName(s)
	if !n.IsFullyQualified() {
		return n, plugin.Errorf(plugin.Invalid, "%s %q is not a valid model name; use letters, digits, '-', '_' and '.', with an optional :tag", field, s)
	}
	return n, nil
}

// existing returns the spelling under which a model of that name is stored, as
// names that differ by case alone are the same model, and whether there is one. A new
// name has its parts spelled as other models have them: Ollama finds a model by such
// parts, and mistakes one for another where they differ by case.
func existing(n model.Name) (model.Name, bool, error) {
	all, err := manifest.Manifests(true)
	if err != nil {
		return n, false, fmt.Errorf("read the store: %w", err)
	}
	names := slices.SortedFunc(maps.Keys(all), func(a, b model.Name) int { return strings.Compare(a.String(), b.String()) })
	for _, same := range []func(e model.Name) bool{
		func(e model.Name) bool { return e.String() == n.String() },
		n.EqualFold,
	} {
		if i := slices.IndexFunc(names, same); i >= 0 {
			return names[i], true, nil
		}
	}
	for _, part := range []func(*model.Name) *string{
		func(n *model.Name) *string { return &n.Host },
		func(n *model.Name) *string { return &n.Namespace },
		func(n *model.Name) *string { return &n.Model },
		func(n *model.Name) *string { return &n.Tag },
	} {
		spell(part(&n), names, part)
	}
	return n, false, nil
}

// spell gives a part of a name the spelling that it has in one of names, unless some
// spell it like this.
func spell(s *string, names []model.Name, part func(*model.Name) *string) {
	as := *s
	for _, e := range names {
		switch other := *part(&e); {
		case other == *s:
			return
		case as == *s && strings.EqualFold(other, *s):
			as = other
		}
	}
	*s = as
}

// lookUp finds a model that Pare can work on.
func lookUp(field, name string) (stored, error) {
	s, err := find(field, name)
	if err == nil {
		err = s.alone()
	}
	return s, err
}

// find finds a model that has a GGUF.
func find(field, name string) (stored, error) {
	n, err := parseName(field, name)
	if err != nil {
		return stored{}, err
	}
	n, found, err := existing(n)
	if err != nil {
		return stored{}, err
	}
	if !found {
		return stored{}, plugin.Errorf(plugin.NotFound, "model %q not found; `pare list` shows those there are, `pare pull %s` may fetch it", name, name)
	}
	m, err := manifest.ParseNamedManifest(n)
	if err != nil {
		return stored{}, fmt.Errorf("read manifest of %s: %w", name, err)
	}
	s := stored{name: n, manifest: m}
	for _, l := range m.Layers {
		switch l.MediaType {
		case mediaModel:
			s.gguf = l
		case mediaAdapter:
			path, err := manifest.BlobsPath(l.Digest)
			if err != nil {
				return stored{}, fmt.Errorf("find the adapter of %s: %w", name, err)
			}
			s.adapters = append(s.adapters, plugin.File{Path: path, Digest: l.Digest})
		}
	}
	if s.gguf.Digest == "" {
		return stored{}, plugin.Errorf(plugin.Refused, "model %q has no GGUF here (it is remote or of another format); Pare works on GGUF models in this store", name)
	}
	if s.path, err = manifest.BlobsPath(s.gguf.Digest); err != nil {
		return stored{}, fmt.Errorf("find the GGUF of %s: %w", name, err)
	}
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		return stored{}, plugin.Errorf(plugin.NotFound, "the GGUF of model %q is missing from the store; pull the model again", name)
	} else if err != nil {
		return stored{}, fmt.Errorf("find the GGUF of %s: %w", name, err)
	}
	return s, nil
}

// nameFree says whether a result may be called name, given its parent.
func nameFree(name string, parent model.Name, force bool) (model.Name, error) {
	n, err := parseName("name", name)
	if err != nil {
		return n, err
	}
	n, taken, err := existing(n)
	if err != nil {
		return n, err
	}
	if n == parent {
		return n, plugin.Errorf(plugin.Exists, "the result cannot replace %q, the model it is made from; choose another name", name)
	}
	if taken && !force {
		return n, plugin.Errorf(plugin.Exists, "a model called %q exists already; choose another name, or replace it with force (--force)", name)
	}
	return n, nil
}

// noSpace marks an error that a fuller disk than expected caused.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &plugin.Error{Kind: plugin.NoSpace, Err: err, Hint: "make room and ask for the same job again: it goes on from here"}
	}
	return err
}
