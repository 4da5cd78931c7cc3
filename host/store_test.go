package host

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ollama/ollama/manifest"
	"github.com/ollama/ollama/types/model"

	"pare/integration/tinymodel"
	"pare/plugin"
)

// tiny is a small GGUF; seed makes it differ.
func tiny(t *testing.T, layers int, seed uint64) []byte {
	t.Helper()
	b, err := tinymodel.New(tinymodel.Config{Architecture: "llama", Layers: layers, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// putBlob stores bytes as Ollama does.
func putBlob(t *testing.T, mediaType string, b []byte) manifest.Layer {
	t.Helper()
	l, err := manifest.NewLayer(bytes.NewReader(b), mediaType)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// putModel stores a model with a template in a new, empty store, or in the one
// of an earlier call.
func putModel(t *testing.T, name string, gguf []byte, more ...manifest.Layer) stored {
	t.Helper()
	layers := append([]manifest.Layer{
		putBlob(t, mediaModel, gguf),
		putBlob(t, "application/vnd.ollama.image.template", []byte("{{ .Prompt }}")),
	}, more...)
	config := putBlob(t, mediaConfig, []byte(`{"model_format":"gguf","model_family":"llama","model_type":"1M","file_type":"F16","renderer":"kept","architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
	if err := writeManifest(model.ParseName(name), config, layers); err != nil {
		t.Fatal(err)
	}
	s, err := lookUp("model", name)
	if err != nil && len(more) == 0 {
		t.Fatal(err)
	}
	return s
}

func emptyStore(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("OLLAMA_MODELS", folder)
	return folder
}

func TestLookUpRefusesWhatCannotBePruned(t *testing.T) {
	emptyStore(t)
	putModel(t, "whole", tiny(t, 4, 1))
	putModel(t, "adapted", tiny(t, 4, 2), putBlob(t, mediaAdapter, []byte("adapter")))
	if err := writeManifest(model.ParseName("remote"), putBlob(t, mediaConfig, []byte("{}")), nil); err != nil {
		t.Fatal(err)
	}
	lost := putModel(t, "lost", tiny(t, 4, 3))
	if err := os.Remove(lost.path); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		kind plugin.Kind
		says string
	}{
		{"", plugin.Invalid, "missing"},
		{"no such model", plugin.Invalid, "not a valid model name"},
		{"../../etc/passwd", plugin.Invalid, "not a valid model name"},
		{"nothere", plugin.NotFound, "not found"},
		{"whole:other", plugin.NotFound, "not found"},
		{"adapted", plugin.Refused, "`pare merge adapted:latest NAME`"},
		{"remote", plugin.Refused, "no GGUF here"},
		{"lost", plugin.NotFound, "missing from the store"},
	} {
		_, err := lookUp("model", c.name)
		if err == nil || plugin.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("lookUp(%q) = %v (kind %d), want kind %d and %q", c.name, err, plugin.KindOf(err), c.kind, c.says)
		}
	}
	for _, same := range []string{"whole", "whole:latest", "WHOLE", "library/whole"} {
		if _, err := lookUp("model", same); err != nil {
			t.Errorf("lookUp(%q): %v", same, err)
		}
	}
}

func TestNamesAreSpelledAsTheStoreSpellsThem(t *testing.T) {
	emptyStore(t)
	putModel(t, "Foo:Q4_K_M", tiny(t, 4, 1))
	putModel(t, "bar:f16", tiny(t, 4, 2))
	putModel(t, "baz:F16", tiny(t, 4, 3))
	for name, want := range map[string]string{
		"foo:q4_k_m":   "Foo:Q4_K_M",
		"small:q4_k_m": "small:Q4_K_M",
		"FOO:new":      "Foo:new",
		"small:f16":    "small:f16",
		"small:F16":    "small:F16",
	} {
		n, _, err := existing(model.ParseName(name))
		if err != nil || n.DisplayShortest() != want {
			t.Errorf("%s is spelled %s, want %s (%v)", name, n.DisplayShortest(), want, err)
		}
	}
}

// finished is a job's result, ready to be registered.
func finished(t *testing.T, parent, name string, b []byte) plugin.RegisterRequest {
	t.Helper()
	return finishedIn(t, filepath.Join(os.Getenv("OLLAMA_MODELS"), "pare"), parent, name, b)
}

func finishedIn(t *testing.T, folder, parent, name string, b []byte) plugin.RegisterRequest {
	t.Helper()
	path := filepath.Join(folder, "cut.gguf")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return plugin.RegisterRequest{Parent: parent, Name: name, Path: path, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(b))}
}

func TestRegisterTakesAllElseFromTheParent(t *testing.T) {
	emptyStore(t)
	parent := putModel(t, "parent", tiny(t, 8, 1), putBlob(t, "application/vnd.ollama.image.projector", []byte("projector")))
	r := finished(t, "parent", "Small", tiny(t, 6, 1))
	m, err := register(r)
	if err != nil {
		t.Fatal(err)
	}
	if m.Digest != r.Digest || m.Name != "Small:latest" {
		t.Errorf("registered %+v", m)
	}
	s, err := lookUp("name", "Small")
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range s.manifest.Layers {
		was := parent.manifest.Layers[i]
		if l.MediaType != was.MediaType || (l.MediaType != mediaModel && l.Digest != was.Digest) {
			t.Errorf("layer %d is %s %s, the parent's %s %s", i, l.MediaType, l.Digest, was.MediaType, was.Digest)
		}
	}
	config, err := readBlob(s.manifest.Config.Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"renderer":"kept"`, `"file_type":"F16"`, r.Digest} {
		if !strings.Contains(string(config), want) {
			t.Errorf("the configuration lacks %s: %s", want, config)
		}
	}
	if strings.Contains(string(config), `"model_type":"1M"`) {
		t.Errorf("the configuration still has the parent's size: %s", config)
	}
	a, errA := os.Stat(r.Path)
	b, errB := os.Stat(s.path)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		t.Errorf("the file was copied (%v, %v)", errA, errB)
	}
}

func TestRegisterMayBeRepeated(t *testing.T) {
	emptyStore(t)
	putModel(t, "parent", tiny(t, 8, 1))
	r := finished(t, "parent", "small", tiny(t, 6, 1))
	for try := range 3 {
		if _, err := register(r); err != nil {
			t.Fatalf("try %d: %v", try, err)
		}
		if try == 1 {
			os.Remove(r.Path)
		}
	}
}

// The same weights with another template are another model.
func TestRegisterAfterTheTemplateChanged(t *testing.T) {
	emptyStore(t)
	putModel(t, "parent", tiny(t, 8, 1))
	r := finished(t, "parent", "small", tiny(t, 6, 1))
	if _, err := register(r); err != nil {
		t.Fatal(err)
	}
	system := putBlob(t, "application/vnd.ollama.image.system", []byte("Be brief."))
	putModel(t, "parent", tiny(t, 8, 1), system)
	if _, err := register(r); plugin.KindOf(err) != plugin.Exists {
		t.Errorf("the old template under that name: %v", err)
	}
	r.Force = true
	if _, err := register(r); err != nil {
		t.Fatal(err)
	}
	s, err := lookUp("model", "small")
	if err != nil {
		t.Fatal(err)
	}
	if rest := s.rest(); len(rest) != 2 || rest[1].Digest != system.Digest {
		t.Errorf("it has not taken the system prompt over: %+v", rest)
	}
	parent, err := find("model", "parent")
	if err != nil {
		t.Fatal(err)
	}
	config := putBlob(t, mediaConfig, []byte(`{"renderer":"another"}`))
	if err := writeManifest(parent.name, config, parent.manifest.Layers); err != nil {
		t.Fatal(err)
	}
	if _, err := register(r); err != nil {
		t.Fatal(err)
	}
	if s, err = lookUp("model", "small"); err != nil {
		t.Fatal(err)
	}
	if c, err := configOf(s); err != nil || c.Renderer != "another" {
		t.Errorf("its renderer is %q, the parent's another (%v)", c.Renderer, err)
	}
}

func TestRegisterKeepsAndReplacesNames(t *testing.T) {
	emptyStore(t)
	putModel(t, "parent", tiny(t, 8, 1))
	old := putModel(t, "taken", tiny(t, 7, 1))
	r := finished(t, "parent", "TAKEN", tiny(t, 6, 1))
	if _, err := register(r); plugin.KindOf(err) != plugin.Exists {
		t.Fatalf("a taken name: %v", err)
	}
	r.Name = "Parent"
	r.Force = true
	if _, err := register(r); plugin.KindOf(err) != plugin.Exists {
		t.Fatalf("the parent's own name: %v", err)
	}
	r.Name = "TAKEN"
	if m, err := register(r); err != nil || m.Name != "taken:latest" {
		t.Fatalf("forced: %+v, %v", m, err)
	}
	if _, err := os.Stat(old.path); !os.IsNotExist(err) {
		t.Errorf("the replaced model's file is still there: %v", err)
	}
	if _, err := lookUp("model", "parent"); err != nil {
		t.Errorf("the parent was harmed: %v", err)
	}
}

func TestRegisterLeavesNothingWhenTheFileIsDamaged(t *testing.T) {
	emptyStore(t)
	putModel(t, "parent", tiny(t, 8, 1))
	r := finished(t, "parent", "small", []byte("GGUF but no more"))
	if _, err := register(r); err == nil {
		t.Fatal("a damaged GGUF was registered")
	}
	if _, err := lookUp("name", "small"); plugin.KindOf(err) != plugin.NotFound {
		t.Errorf("the name is there: %v", err)
	}
	blob, err := manifest.BlobsPath(r.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(blob); !os.IsNotExist(err) {
		t.Errorf("the damaged file is a blob: %v", err)
	}
}

func TestLentRegisterStaysInTheJobsFolder(t *testing.T) {
	emptyStore(t)
	parent := putModel(t, "parent", tiny(t, 8, 1))
	l := &lent{folder: t.TempDir(), digest: parent.gguf.Digest}
	for _, path := range []string{parent.path, l.folder, filepath.Join(l.folder, "..", filepath.Base(parent.path))} {
		_, err := l.Register(t.Context(), plugin.RegisterRequest{Parent: "parent", Name: "small", Path: path, Digest: parent.gguf.Digest})
		if err == nil {
			t.Errorf("registered %s from outside %s", path, l.folder)
		}
	}
	link := filepath.Join(l.folder, "link")
	if err := os.Symlink(parent.path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Register(t.Context(), plugin.RegisterRequest{Parent: "parent", Name: "small", Path: link, Digest: parent.gguf.Digest}); plugin.KindOf(err) != plugin.Invalid {
		t.Errorf("registered through a link out of the folder: %v", err)
	}
}

// A blob that a power cut left empty is written anew.
func TestABlobThatWasLost(t *testing.T) {
	emptyStore(t)
	for range 2 {
		l, err := store(mediaConfig, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := readBlob(l.Digest); err != nil || string(b) != "{}" || l.Size != 2 {
			t.Errorf("%q of %d bytes, %v", b, l.Size, err)
		}
		path, err := manifest.BlobsPath(l.Digest)
		if err == nil {
			err = os.Truncate(path, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
