package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"

	"github.com/google/renameio/v2"
	"github.com/ollama/ollama/envconfig"
	"github.com/ollama/ollama/format"
	"github.com/ollama/ollama/fs/ggml"
	"github.com/ollama/ollama/manifest"
	"github.com/ollama/ollama/types/model"

	"pare/plugin"
)

// register names a finished GGUF. The file becomes a blob without being copied,
// all else of the parent comes along by digest, and the model appears at once
// when the manifest is renamed into place. It may be repeated.
func register(r plugin.RegisterRequest) (plugin.Model, error) {
	parent, err := find("model", r.Parent)
	if err != nil {
		return plugin.Model{}, err
	}
	if done, ok := registered(r, parent); ok {
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
	facts, err := inspect(r.Path, r.Digest)
	if err != nil {
		return plugin.Model{}, err
	}
	made, err := adoptAll(r)
	if err != nil {
		return plugin.Model{}, noSpace(fmt.Errorf("store the new GGUF: %w", err))
	}
	layers := append(made, parent.rest()...)
	config, err := newConfig(parent, layers, facts)
	if err != nil {
		return plugin.Model{}, noSpace(fmt.Errorf("store the new configuration: %w", err))
	}
	if err := writeManifest(n, config, layers); err != nil {
		return plugin.Model{}, noSpace(fmt.Errorf("write the manifest: %w", err))
	}
	if old != nil && !envconfig.NoPrune() {
		if err := old.RemoveLayers(); err != nil {
			slog.Warn("cannot remove the layers of the replaced model", "name", n, "error", err)
		}
	}
	s, err := find("name", n.String())
	return s.model(), err
}

// adoptAll makes the files of a model blobs.
func adoptAll(r plugin.RegisterRequest) ([]manifest.Layer, error) {
	gguf, err := adopt(mediaModel, r.Path, r.Digest)
	if err != nil || r.Adapter.Path == "" {
		return []manifest.Layer{gguf}, err
	}
	if _, err := inspect(r.Adapter.Path, r.Adapter.Digest); err != nil {
		return nil, err
	}
	adapter, err := adopt(mediaAdapter, r.Adapter.Path, r.Adapter.Digest)
	return []manifest.Layer{gguf, adapter}, err
}

// rest are a model's layers beside its GGUF and adapters: template, parameters,
// licence, projector, …
func (s stored) rest() []manifest.Layer {
	return slices.DeleteFunc(slices.Clone(s.manifest.Layers), func(l manifest.Layer) bool {
		return l.MediaType == mediaModel || l.MediaType == mediaAdapter
	})
}

// registered reports whether an earlier try, cut short, did it all.
func registered(r plugin.RegisterRequest, parent stored) (plugin.Model, bool) {
	s, err := find("name", r.Name)
	if err != nil || s.name == parent.name || s.gguf.Digest != r.Digest || s.adapter().Digest != r.Adapter.Digest {
		return plugin.Model{}, false
	}
	return s.model(), sameBeside(s, parent)
}

// sameBeside reports whether two models have the same but for their weights: template,
// parameters and so on, and what their configurations say of them.
func sameBeside(a, b stored) bool {
	x, errX := configOf(a)
	y, errY := configOf(b)
	for _, c := range []*model.ConfigV2{&x, &y} {
		c.ModelType, c.FileType, c.RootFS = "", "", model.RootFS{}
	}
	return errX == nil && errY == nil && reflect.DeepEqual(x, y) && slices.Equal(a.rest(), b.rest())
}

func configOf(s stored) (model.ConfigV2, error) {
	var config model.ConfigV2
	b, err := readBlob(s.manifest.Config.Digest)
	if err != nil {
		return config, err
	}
	if err := json.Unmarshal(b, &config); err != nil {
		return config, fmt.Errorf("read the configuration of %s: %w", s.name, err)
	}
	return config, nil
}

// adopt makes the file at path the blob of the given digest, by a second link
// so that a crash in between loses nothing, or by renaming it where links are
// not to be had.
func adopt(kind, path, digest string) (manifest.Layer, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return manifest.Layer{}, err
	}
	blob, err := manifest.BlobsPath(digest)
	if err != nil {
		return manifest.Layer{}, err
	}
	layer := manifest.Layer{MediaType: kind, Digest: digest, Size: fi.Size()}
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

// newConfig is the parent's configuration with the new layers, size and type,
// which `ollama show` and `ollama list` print.
func newConfig(parent stored, layers []manifest.Layer, facts ggml.KV) (manifest.Layer, error) {
	config, err := configOf(parent)
	if err != nil {
		return manifest.Layer{}, err
	}
	config.ModelType = format.HumanNumber(facts.ParameterCount())
	config.FileType = facts.FileType().String()
	config.RootFS.DiffIDs = nil
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest)
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(config); err != nil {
		return manifest.Layer{}, err
	}
	return store(mediaConfig, out.Bytes())
}

// store makes data a blob that outlasts a power cut, in place of one of the same name that did
// not.
func store(kind string, data []byte) (manifest.Layer, error) {
	layer := manifest.Layer{MediaType: kind, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(data)), Size: int64(len(data))}
	if have, err := readBlob(layer.Digest); err == nil && bytes.Equal(have, data) {
		return layer, nil
	}
	blob, err := manifest.BlobsPath(layer.Digest)
	if err != nil {
		return layer, err
	}
	if err := replace(blob, data); err != nil {
		return layer, err
	}
	return layer, syncFolder(filepath.Dir(blob))
}

func readBlob(digest string) ([]byte, error) {
	path, err := manifest.BlobsPath(digest)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// inspect checks that a file has the digest it is said to have, under which it
// would be stored, and reads it as Ollama does, so that what this shows agrees.
func inspect(path, digest string) (ggml.KV, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, fmt.Errorf("read the new GGUF: %w", err)
	}
	if got := fmt.Sprintf("sha256:%x", h.Sum(nil)); got != digest {
		return nil, fmt.Errorf("the new GGUF has the digest %s, not %s as the plugin says", got, digest)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	g, err := ggml.Decode(f, 0)
	if err != nil {
		return nil, fmt.Errorf("decode the new GGUF: %w", err)
	}
	return g.KV(), nil
}

// replace writes a file of the store, whole or not at all. The temporary file must not stand
// among the manifests, where the server would take it for one, and stands where the
// next server would delete it.
func replace(path string, data []byte) error {
	temp := filepath.Join(envconfig.Models(), "pare")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, data, 0o644, renameio.WithTempDir(temp))
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
	if err := replace(path, append(b, '\n')); err != nil {
		return err
	}
	// The folders may be new; the blobs of a replaced model go only when its
	// manifest is gone for good.
	for d := filepath.Dir(path); len(d) > len(envconfig.Models()); d = filepath.Dir(d) {
		if err := syncFolder(d); err != nil {
			return err
		}
	}
	return nil
}
