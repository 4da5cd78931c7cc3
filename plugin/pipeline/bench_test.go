package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pare/integration/tinymodel"
	"pare/plugin"
)

const modelLayers = 8

// A bench is a host with one model, folders, and a request to it. What the model
// makes of text is told in scoring_test.go.
type bench struct {
	fakeScorer

	t       *testing.T
	model   plugin.Model
	store   string // where registered files go
	job     plugin.Job
	version string   // of Pare, if not "test"
	traced  []string // digests of the texts that ran through the model
	group   int      // texts traced together; 0 means 1
	mute    bool     // no token is measured
	other   string   // digest of the model that Trace measures, if another
	broken  error    // of Trace after the first text, if not nil
	refusal error    // of Register, if not nil
	made    map[string]plugin.Model
	events  []string // stages
}

var tinyModel = sync.OnceValues(func() ([]byte, error) {
	return tinymodel.New(tinymodel.Config{Architecture: "llama", Layers: modelLayers, Seed: 1})
})

func newBench(t *testing.T) *bench {
	t.Helper()
	home := t.TempDir()
	data, err := tinyModel()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, store: filepath.Join(home, "store"), made: map[string]plugin.Model{}, fakeScorer: newFakeScorer()}
	b.model = plugin.Model{Name: "tiny", Digest: "sha256:" + strings.Repeat("a", 64), Path: filepath.Join(home, "tiny.gguf"), Size: int64(len(data))}
	b.job = plugin.Job{
		Repair: plugin.Repair{Method: plugin.RepairNone},
		ID:     "1", Folder: filepath.Join(home, "job"), Name: "small",
		Profile:   plugin.ProfileRequest{Model: "tiny", Folder: filepath.Join(home, "profiles"), Corpus: b.corpus(home, "one", "one", "two", "three", "four")},
		Selection: plugin.Selection{Layers: 2},
		Evaluate:  b.judged(home),
	}
	for _, folder := range []string{b.store, b.job.Folder} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(b.model.Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// corpus keeps texts, a document each, as the host does.
func (b *bench) corpus(folder, name string, texts ...string) plugin.Corpus {
	b.t.Helper()
	var lines strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&lines, "{\"text\": %q}\n", text)
	}
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return plugin.Corpus{Name: name + ".jsonl", Path: path}
}

// judged is a small evaluation: three texts and two questions.
func (b *bench) judged(folder string) plugin.Evaluate {
	b.t.Helper()
	return plugin.Evaluate{
		Corpus: b.corpus(folder, "apart", "a text that is for scores alone", "and another such text", "which makes three of them"),
		Tasks: []plugin.Corpus{b.file(folder, "sums.jsonl",
			`{"context": "two and two make", "choices": [" four", " five hundred"], "answer": 0}`,
			`{"context": "one and two make", "choices": [" nine hundred", " three"], "answer": 1}`)},
	}
}

// file keeps lines as the host keeps what comes with a request.
func (b *bench) file(folder, name string, lines ...string) plugin.Corpus {
	b.t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return plugin.Corpus{Name: name, Path: path}
}

// Model implements plugin.Host.
func (b *bench) Model(_ context.Context, name string) (plugin.Model, error) {
	if name == b.model.Name {
		return b.model, nil
	}
	if m, ok := b.made[name]; ok {
		return m, nil
	}
	return plugin.Model{}, plugin.Errorf(plugin.NotFound, "model %q not found", name)
}

// Trace implements plugin.Host: what it measures depends on the text alone.
func (b *bench) Trace(ctx context.Context, r plugin.TraceRequest, each func(plugin.TraceDelta) error) error {
	first := true
	for group := range slices.Chunk(r.Texts, max(1, b.group)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !first && b.broken != nil {
			return b.broken
		}
		first = false
		var sum plugin.TraceDelta
		for i, text := range group {
			b.traced = append(b.traced, text.Digest)
			if d := b.measure(text); i == 0 {
				sum = d
			} else {
				sum.All.Add(d.All)
				sum.Texts = append(sum.Texts, d.Texts...)
			}
		}
		sum.Model = cmp.Or(b.other, sum.Model)
		if err := each(sum); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measure(text plugin.Text) plugin.TraceDelta {
	h := fnv.New64a()
	h.Write([]byte(text.Digest))
	noise := rand.New(rand.NewPCG(1, h.Sum64()))
	tokens := int64(len(text.Text))
	d := plugin.TraceDelta{Model: b.model.Digest, Layers: modelLayers, Hidden: 64, Expected: tokens + 1, Texts: []string{text.Digest}}
	for _, s := range []*plugin.Sums{&d.All, &d.Last, &d.First} {
		*s = plugin.NewSums(modelLayers)
		if b.mute {
			continue
		}
		s.Tokens, s.OutTokens = tokens, 1
		for _, row := range [][]float64{s.Angle, s.Cosine, s.Step, s.Norm} {
			for i := range row {
				row[i] = 0.3 * noise.Float64()
			}
		}
	}
	return d
}

// Register implements plugin.Host, by a second link as the server does, under the
// name that Ollama prints.
func (b *bench) Register(_ context.Context, r plugin.RegisterRequest) (plugin.Model, error) {
	if b.refusal != nil {
		return plugin.Model{}, b.refusal
	}
	path := filepath.Join(b.store, strings.Replace(r.Digest, ":", "-", 1))
	if err := os.Link(r.Path, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return plugin.Model{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return plugin.Model{}, err
	}
	m := plugin.Model{Name: r.Name + ":latest", Digest: r.Digest, Path: path, Size: info.Size()}
	b.made[m.Name] = m
	return m, nil
}

// profile asks for the model's profile and returns it with how many texts were
// traced for it.
func (b *bench) profile(r plugin.ProfileRequest) (plugin.Profile, int) {
	b.t.Helper()
	b.traced = nil
	p, err := Pipeline{Version: "test"}.Profile(b.t.Context(), r, b, func(plugin.Event) {})
	if err != nil {
		b.t.Fatal(err)
	}
	return p, len(b.traced)
}

// prune runs the job; at is called with the number of each event.
func (b *bench) prune(ctx context.Context, at func(n int)) (plugin.Report, error) {
	b.events, b.traced = nil, nil
	return Pipeline{Version: cmp.Or(b.version, "test")}.Prune(ctx, b.job, b, func(e plugin.Event) {
		b.events = append(b.events, e.Stage)
		at(len(b.events))
	})
}

func (b *bench) mustPrune() plugin.Report {
	b.t.Helper()
	r, err := b.prune(b.t.Context(), func(int) {})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}
