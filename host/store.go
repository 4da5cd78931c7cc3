package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"github.com/ollama/ollama/envconfig"
	"github.com/ollama/ollama/format"
	"github.com/ollama/ollama/fs/ggml"
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
}

func (s stored) model() plugin.Model {
	return plugin.Model{Name: s.name.DisplayShortest(), Digest: s.gguf.Digest, Path: s.path, Size: s.gguf.Size}
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
// names that differ by case alone are the same model, and whether there is one.
func existing(n model.Name) (model.Name, bool, error) {
	all, err := manifest.Manifests(true)
	if err != nil {
		return n, false, fmt.Errorf("read the store: %w", err)
	}
	for e := range all {
		if strings.EqualFold(e.String(), n.String()) {
			return e, true, nil
		}
	}
	return n, false, nil
}

// lookUp finds a model that Pare can work on.
func lookUp(field, name string) (stored, error) {
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
			return stored{}, plugin.Errorf(plugin.Refused, "model %q has an adapter made for all of its layers; merge it into the model first, or use the model without it", name)
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
		return n, plugin.Errorf(plugin.Exists, "a model called %q exists already; choose another name, or force its replacement", name)
	}
	return n, nil
}

// register names a finished GGUF. The file becomes a blob without being copied,
// all else of the parent comes along by digest, and the model appears at once
// when the manifest is renamed into place. It may be repeated.
func register(r plugin.RegisterRequest) (plugin.Model, error) {
	parent, err := lookUp("model", r.Parent)
	if err != nil {
		return plugin.Model{}, err
	}
	if done, ok := registered(r, parent.name); ok {
		return done, nil
	}
	n, err := nameFree(r.Name, parent.name, r.Force)
	if err != nil {
		return plugin.Model{}, err
	}
	old, err := manifest.ParseNamedManifest(n)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("replacing a model whose manifest cannot be read", "name", n, "error", err)
	}
	gguf, err := adopt(r.Path, r.Digest)
	if err != nil {
		return plugin.Model{}, noSpace(fmt.Errorf("store the new GGUF: %w", err))
	}
	config, err := newConfig(parent, gguf)
	if err != nil {
		return plugin.Model{}, noSpace(fmt.Errorf("store the new configuration: %w", err))
	}
	layers := make([]manifest.Layer, 0, len(parent.manifest.Layers))
	for _, l := range parent.manifest.Layers {
		if l.MediaType == mediaModel {
			l = gguf
		}
		layers = append(layers, l)
	}
	if err := writeManifest(n, config, layers); err != nil {
		return plugin.Model{}, noSpace(fmt.Errorf("write the manifest: %w", err))
	}
	if old != nil && !envconfig.NoPrune() {
		if err := old.RemoveLayers(); err != nil {
			slog.Warn("cannot remove the layers of the replaced model", "name", n, "error", err)
		}
	}
	s, err := lookUp("name", n.String())
	return s.model(), err
}

// registered reports whether an earlier try, cut short, did it all.
func registered(r plugin.RegisterRequest, parent model.Name) (plugin.Model, bool) {
	s, err := lookUp("name", r.Name)
	if err != nil || s.name == parent || s.gguf.Digest != r.Digest {
		return plugin.Model{}, false
	}
	return s.model(), true
}

// adopt makes the file at path the blob of the given digest, by a second link
// so that a crash in between loses nothing, or by renaming it where links are
// not to be had.
func adopt(path, digest string) (manifest.Layer, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return manifest.Layer{}, err
	}
	blob, err := manifest.BlobsPath(digest)
	if err != nil {
		return manifest.Layer{}, err
	}
	layer := manifest.Layer{MediaType: mediaModel, Digest: digest, Size: fi.Size()}
	if have, err := os.Stat(blob); err == nil && have.Size() == fi.Size() {
		return layer, nil
	}
	if err := os.Chmod(path, 0o644); err != nil {
		return manifest.Layer{}, err
	}
	if os.Link(path, blob) != nil {
		if err := os.Rename(path, blob); err != nil {
			return manifest.Layer{}, err
		}
	}
	return layer, syncFolder(filepath.Dir(blob))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems cannot sync a folder and say so.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// newConfig is the parent's configuration with the new GGUF's size and type,
// which `ollama show` and `ollama list` print.
func newConfig(parent stored, gguf manifest.Layer) (manifest.Layer, error) {
	b, err := readBlob(parent.manifest.Config.Digest)
	if err != nil {
		return manifest.Layer{}, err
	}
	var config model.ConfigV2
	if err := json.Unmarshal(b, &config); err != nil {
		return manifest.Layer{}, fmt.Errorf("read the configuration of %s: %w", parent.name, err)
	}
	kv, err := ggufFacts(gguf.Digest)
	if err != nil {
		return manifest.Layer{}, err
	}
	config.ModelType = format.HumanNumber(kv.ParameterCount())
	config.FileType = kv.FileType().String()
	config.RootFS.DiffIDs = nil
	for _, l := range parent.manifest.Layers {
		if l.MediaType == mediaModel {
			l = gguf
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest)
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(config); err != nil {
		return manifest.Layer{}, err
	}
	return manifest.NewLayer(&out, mediaConfig)
}

func readBlob(digest string) ([]byte, error) {
	path, err := manifest.BlobsPath(digest)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// ggufFacts reads a blob as Ollama does, so that what it shows agrees.
func ggufFacts(digest string) (ggml.KV, error) {
	path, err := manifest.BlobsPath(digest)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g, err := ggml.Decode(f, 0)
	if err != nil {
		return nil, fmt.Errorf("decode the new GGUF: %w", err)
	}
	return g.KV(), nil
}

// writeManifest does what Ollama's own does, atomically.
func writeManifest(n model.Name, config manifest.Layer, layers []manifest.Layer) error {
	path, err := manifest.PathForName(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(manifest.Manifest{
		SchemaVersion: 2,
		MediaType:     "application/vnd.docker.distribution.manifest.v2+json",
		Config:        config,
		Layers:        layers,
	})
	if err != nil {
		return err
	}
	// The temporary file must not stand among the manifests, where the server
	// would take it for one.
	return renameio.WriteFile(path, append(b, '\n'), 0o644, renameio.WithTempDir(envconfig.Models()))
}

// noSpace marks an error that a fuller disk than expected caused.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &plugin.Error{Kind: plugin.NoSpace, Err: err, Hint: "make room and ask for the same job again: it goes on from here"}
	}
	return err
}
