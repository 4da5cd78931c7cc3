package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pare/convert"
	"pare/gguf"
	"pare/gguf/gguftest"
	"pare/integration/tinymodel"
	"pare/plugin"
	"pare/plugin/profile"
)

// TestProfileGrows asks for profiles over one corpus and the other. Nothing is
// traced that was traced before, and nothing that was measured is forgotten.
func TestProfileGrows(t *testing.T) {
	b := newBench(t)
	folder := t.TempDir()
	one := b.job.Profile // four texts: 3+3+5+4 tokens
	two := one
	two.Corpus = b.corpus(folder, "two", "five", "four", "six") // four is in both
	kept := one
	kept.Corpus = plugin.Corpus{}
	added := two
	added.Add = true
	for _, step := range []struct {
		name    string
		request plugin.ProfileRequest
		traced  int
		tokens  int64
		corpora []string
	}{
		{"the first time", one, 4, 15, []string{"one.jsonl"}},
		{"again", one, 0, 15, []string{"one.jsonl"}},
		{"without a corpus", kept, 0, 15, []string{"one.jsonl"}},
		{"with another one added", added, 2, 22, []string{"one.jsonl", "two.jsonl"}},
		{"added again", added, 0, 22, []string{"one.jsonl", "two.jsonl"}},
		{"replaced", two, 0, 11, []string{"two.jsonl"}},
		{"without a corpus, after that", kept, 0, 11, []string{"two.jsonl"}},
		{"back to the first", one, 0, 15, []string{"one.jsonl"}},
	} {
		p, traced := b.profile(step.request)
		var corpora []string
		for _, c := range p.Corpora {
			corpora = append(corpora, c.Name)
		}
		if traced != step.traced || p.Tokens != step.tokens || !slices.Equal(corpora, step.corpora) {
			t.Errorf("%s: %d texts traced, %d tokens of %q; want %d, %d of %q", step.name, traced, p.Tokens, corpora, step.traced, step.tokens, step.corpora)
		}
		if kept, err := plugin.LoadProfile(one.Folder, b.model.Digest); err != nil || kept.Trace != p.Trace {
			t.Errorf("%s: kept is %s, %v, not %s", step.name, kept.Trace, err, p.Trace)
		}
	}
}

// TestProfileGrowsByGroups traces several texts to a frame, so that a frame may hold
// texts of two corpora, or of one alone that the other shares.
func TestProfileGrowsByGroups(t *testing.T) {
	for _, before := range []bool{false, true} { // whether the second corpus was traced before
		b := newBench(t)
		b.group = 3
		one, two := b.job.Profile, b.job.Profile
		two.Corpus = b.corpus(t.TempDir(), "two", "five", "four", "six", "two")
		if before {
			b.profile(two)
		}
		b.profile(one)
		two.Add = true
		for range 2 {
			p, _ := b.profile(two)
			if p.Tokens != 22 || len(p.Corpora) != 2 { // one two three four five six
				t.Errorf("traced before: %v: %d tokens of %d corpora, want 22 of 2", before, p.Tokens, len(p.Corpora))
			}
		}
	}
}

// TestModelReplacedWhileTraced keeps no measurement of another model.
func TestModelReplacedWhileTraced(t *testing.T) {
	b := newBench(t)
	b.other = "sha256:" + strings.Repeat("b", 64)
	if _, err := b.prune(t.Context(), func(int) {}); err == nil || !strings.Contains(err.Error(), "ask again") {
		t.Fatal(err)
	}
	b.other = ""
	if _, traced := b.profile(b.job.Profile); traced != 4 {
		t.Errorf("%d texts traced, want 4", traced)
	}
}

// TestPlanNeedsMeasurements asks for a plan with and without what it is made from.
func TestPlanNeedsMeasurements(t *testing.T) {
	b := newBench(t)
	plan := func() (plugin.Plan, error) {
		return Pipeline{Version: "test"}.Plan(t.Context(), plugin.PlanRequest{
			Model: b.model.Digest, Path: b.model.Path, Folder: b.job.Profile.Folder, Selection: b.job.Selection,
		})
	}
	if _, err := plan(); !errors.Is(err, plugin.ErrNoProfile) {
		t.Errorf("without a profile: %v", err)
	}
	kept, _ := b.profile(b.job.Profile)
	if p, err := plan(); err != nil || len(p.Remove) != 2 || p.Criterion != "angular" {
		t.Errorf("%+v, %v", p, err)
	}
	folder := plugin.ProfileFolder(b.job.Profile.Folder, b.model.Digest)
	if err := os.Truncate(filepath.Join(folder, "trace.bin"), 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := plan(); plugin.KindOf(err) != plugin.NotFound || !strings.Contains(fmt.Sprint(err), "profile the model again") {
		t.Errorf("without all measurements: %v", err)
	}
	for name, spoil := range map[string]func(*plugin.Profile){
		"another version": func(p *plugin.Profile) { p.Version++ },
		"another model":   func(p *plugin.Profile) { p.Model = "sha256:" },
	} {
		p := kept
		spoil(&p)
		if err := save(filepath.Join(folder, "profile.json"), p); err != nil {
			t.Fatal(err)
		}
		if _, err := plan(); !errors.Is(err, plugin.ErrNoProfile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProfileWithoutItsFrames loses trace.bin: the profile alone is not believed.
func TestProfileWithoutItsFrames(t *testing.T) {
	b := newBench(t)
	b.profile(b.job.Profile)
	folder := plugin.ProfileFolder(b.job.Profile.Folder, b.model.Digest)
	if err := os.Remove(filepath.Join(folder, "trace.bin")); err != nil {
		t.Fatal(err)
	}
	if _, traced := b.profile(b.job.Profile); traced != 4 {
		t.Errorf("%d texts traced, want 4", traced)
	}
}

// TestTraceGoesOn breaks the trace after one text.
func TestTraceGoesOn(t *testing.T) {
	b := newBench(t)
	b.broken = plugin.Errorf(plugin.Unavailable, "the runner is gone")
	_, err := b.prune(t.Context(), func(int) {})
	if plugin.KindOf(err) != plugin.Unavailable || len(b.traced) != 1 {
		t.Fatalf("%d texts traced, %v", len(b.traced), err)
	}
	b.broken = nil
	b.mustPrune()
	if len(b.traced) != 3 {
		t.Errorf("%d texts traced in the end, want the other 3", len(b.traced))
	}
}

// TestStoppedAnywhere cancels a job at each of its events in turn and asks for it
// again. The file and its evaluation are those of a job that was left alone, each
// text was traced once and nothing scored twice, and nothing but what a report needs
// stays.
func TestStoppedAnywhere(t *testing.T) {
	undisturbed := newBench(t)
	want := undisturbed.mustPrune()
	stages, runs := undisturbed.events, undisturbed.onlyOnce(t)
	if got := slices.Compact(slices.Clone(stages)); !slices.Equal(got, []string{"trace", "profile", "try", "plan", "cut", "evaluate", "register"}) {
		t.Fatalf("stages: %q", got)
	}
	for n := range stages {
		t.Run(fmt.Sprintf("%d-%s", n, stages[n]), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			ctx, cancel := context.WithCancel(t.Context())
			first, err := b.prune(ctx, func(at int) {
				if at == n+1 {
					cancel()
				}
			})
			cancel()
			traced := len(b.traced)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			again := b.mustPrune()
			if again.Result != want.Result || err == nil && first.Result != want.Result {
				t.Errorf("made %+v, then %+v, want %+v", first.Result, again.Result, want.Result)
			}
			if traced += len(b.traced); traced != 4 {
				t.Errorf("%d texts were traced", traced)
			}
			if !reflect.DeepEqual(again.Plan, want.Plan) || !reflect.DeepEqual(again.Evaluation, want.Evaluation) {
				t.Errorf("planned and measured %+v and %+v, want %+v and %+v", again.Plan, again.Evaluation, want.Plan, want.Evaluation)
			}
			if got := b.onlyOnce(t); got != runs {
				t.Errorf("%d runs were made, want %d", got, runs)
			}
			if sum, err := gguf.DigestFile(filepath.Join(b.store, strings.Replace(want.Result.Digest, ":", "-", 1))); err != nil || sum != want.Result.Digest {
				t.Errorf("the store has %s, %v", sum, err)
			}
			b.checkFolder()
		})
	}
}

// checkFolder demands that the job's folder holds its small files and no model.
func (b *bench) checkFolder() {
	b.t.Helper()
	entries, err := os.ReadDir(b.job.Folder)
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"cut.json", "evaluation.json", "plan.json", "report.json"}) {
		b.t.Errorf("the job's folder holds %q", names)
	}
}

// TestCutIsFoundAgain has a job whose model is not registered at first. The next try takes
// the file that is there, unless it is damaged or not of this plan.
func TestCutIsFoundAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *bench, cut string) error
		again  bool
	}{
		"whole":     {func(*bench, string) error { return nil }, false},
		"truncated": {func(_ *bench, cut string) error { return os.Truncate(cut, 1000) }, true},
		"lost":      {func(_ *bench, cut string) error { return os.Remove(cut) }, true},
		"of another Pare": {func(b *bench, _ string) error {
			b.version = "later"
			return nil
		}, true},
		"of another plan": {func(b *bench, _ string) error {
			b.job.Selection = plugin.Selection{Remove: []int{3}}
			return nil
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.refusal = plugin.Errorf(plugin.Exists, "the name is taken")
			if _, err := b.prune(t.Context(), func(int) {}); plugin.KindOf(err) != plugin.Exists {
				t.Fatal(err)
			}
			b.refusal = nil
			cut := filepath.Join(b.job.Folder, "cut.gguf")
			if err := c.change(b, cut); err != nil {
				t.Fatal(err)
			}
			b.mustPrune()
			if again := slices.Contains(b.events, "cut"); again != c.again {
				t.Errorf("cut again: %v, want %v", again, c.again)
			}
			b.checkFolder()
		})
	}
}

// TestSweepTemporary has a folder whose name is no pattern that matches it.
func TestSweepTemporary(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a[b]c")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".pare-X.tmp", "plan.json"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweepTemporary(folder); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 || left[0].Name() != "plan.json" {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestDryRun stops at the plan, which took running the model, and judges nothing.
func TestDryRun(t *testing.T) {
	b := newBench(t)
	b.job.DryRun = true
	r := b.mustPrune()
	if !slices.Equal(r.Plan.Remove, []int{4, 5}) || r.Result != (plugin.ModelInfo{}) || r.Evaluation != nil {
		t.Errorf("report %+v", r)
	}
	if got := slices.Compact(b.events); !slices.Equal(got, []string{"trace", "profile", "try", "plan"}) {
		t.Errorf("stages %q", got)
	}
}

// TestAJobsOwnTextIsForItAlone prunes by a text of its own while another profile is
// kept, and goes back to Pare's own text afterwards.
func TestAJobsOwnTextIsForItAlone(t *testing.T) {
	b := newBench(t)
	before, _ := b.profile(b.job.Profile)
	b.job.Profile.Corpus = b.corpus(t.TempDir(), "other", "some other text", "and more of it")
	if r := b.mustPrune(); r.Plan.Profile == before.Trace || len(b.traced) != 2 {
		t.Errorf("the plan is of %s, %d texts were traced", r.Plan.Profile, len(b.traced))
	}
	if kept, err := plugin.LoadProfile(b.job.Profile.Folder, b.model.Digest); err != nil || kept.Trace != before.Trace {
		t.Errorf("kept is %s, %v, not %s", kept.Trace, err, before.Trace)
	}
	request := b.job.Profile
	request.Corpus = plugin.Corpus{Name: defaultCorpus}
	if p, traced := b.profile(request); traced < 20 || p.Corpora[0].Name != defaultCorpus {
		t.Errorf("%d texts of %q were traced for the default corpus", traced, p.Corpora[0].Name)
	}
}

// TestATextOfNoTokensIsRefused leaves the kept profile as it was.
func TestATextOfNoTokensIsRefused(t *testing.T) {
	b := newBench(t)
	before, _ := b.profile(b.job.Profile)
	b.mute = true
	request := b.job.Profile
	request.Corpus = b.corpus(t.TempDir(), "short", "hi")
	_, err := Pipeline{}.Profile(t.Context(), request, b, func(plugin.Event) {})
	if plugin.KindOf(err) != plugin.Invalid || !strings.Contains(err.Error(), "too short") {
		t.Errorf("refused with %v", err)
	}
	if kept, err := plugin.LoadProfile(request.Folder, b.model.Digest); err != nil || kept.Trace != before.Trace {
		t.Errorf("kept is %s, %v, not %s", kept.Trace, err, before.Trace)
	}
}

// TestNamedLayersNeedNoTrace removes layers by their numbers. The model is run only
// to measure what that cost.
func TestNamedLayersNeedNoTrace(t *testing.T) {
	b := newBench(t)
	b.job.Selection = plugin.Selection{Remove: []int{2, 3, 4}}
	r := b.mustPrune()
	if len(b.traced) > 0 || r.Result.Layers != modelLayers-3 || slices.Contains(b.events, "try") {
		t.Errorf("%d texts traced, %d layers left, stages %q", len(b.traced), r.Result.Layers, b.events)
	}
}

// TestKinds says which errors a user can do something about.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind plugin.Kind
	}{
		{fmt.Errorf("write cut.gguf: %w", &fs.PathError{Op: "write", Path: "cut.gguf", Err: syscall.ENOSPC}), plugin.NoSpace},
		{fmt.Errorf("keep the trace: %w", syscall.EDQUOT), plugin.NoSpace},
		{&profile.SelectionError{Field: "rate", Reason: "no"}, plugin.Invalid},
		{fmt.Errorf("cut: %w", &convert.CutError{}), plugin.Refused},
		{fmt.Errorf("read: %w", &gguf.FormatError{}), plugin.Refused},
		{fmt.Errorf("inspect: %w", convert.ErrNotDecoder), plugin.Refused},
		{fmt.Errorf("inspect: %w", convert.ErrUnknownArchitecture), plugin.Refused},
		{fmt.Errorf("inspect: %w", convert.ErrUnfit), plugin.Refused},
		{fmt.Errorf("read: %w", fs.ErrNotExist), plugin.NotFound},
		{fmt.Errorf("register: %w", plugin.Errorf(plugin.Exists, "taken: %w", fs.ErrNotExist)), plugin.Exists},
		{errors.New("a bug"), plugin.Internal},
	} {
		if got := kinded(c.err); plugin.KindOf(got) != c.kind || !strings.HasPrefix(got.Error(), c.err.Error()) {
			t.Errorf("%v: kind %d, want %d (%v)", c.err, plugin.KindOf(got), c.kind, got)
		}
	}
	if full := kinded(syscall.ENOSPC); !strings.Contains(full.Error(), "make room and ask for the same job again") {
		t.Errorf("a full disk says %v", full)
	}
}

// TestRefusals asks for what cannot be done; nothing is made, traced or run.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench)
		kind   plugin.Kind
	}{
		"unknown model":   {func(b *bench) { b.job.Profile.Model = "none" }, plugin.NotFound},
		"too many layers": {func(b *bench) { b.job.Selection.Layers = modelLayers }, plugin.Invalid},
		"binary corpus":   {func(b *bench) { b.job.Profile.Corpus.Path = b.model.Path }, plugin.Invalid},
		"truncated model": {func(b *bench) { os.Truncate(b.model.Path, 500) }, plugin.Refused},
		"no GGUF":         {func(b *bench) { os.WriteFile(b.model.Path, []byte("not a model"), 0o600) }, plugin.Refused},
		"no tensors": {func(b *bench) {
			keys := []gguftest.KV{{Key: "general.architecture", Value: "llama"}, {Key: "llama.block_count", Value: uint32(8)}}
			os.WriteFile(b.model.Path, gguftest.Builder{KVs: keys}.Bytes(), 0o600)
		}, plugin.Refused},
		"one layer": {func(b *bench) {
			data, _ := tinymodel.New(tinymodel.Config{Architecture: "llama", Layers: 1})
			os.WriteFile(b.model.Path, data, 0o600)
		}, plugin.Refused},
		"lost corpus":      {func(b *bench) { os.Remove(b.job.Profile.Corpus.Path) }, plugin.NotFound},
		"unknown level":    {func(b *bench) { b.job.Evaluate.Level = "deep" }, plugin.Invalid},
		"thresholds":       {func(b *bench) { b.job.Evaluate.Thresholds.KeepKL = -1 }, plugin.Invalid},
		"malformed tasks":  {func(b *bench) { b.job.Evaluate.Tasks[0].Path = b.model.Path }, plugin.Invalid},
		"lost tasks":       {func(b *bench) { os.Remove(b.job.Evaluate.Tasks[0].Path) }, plugin.NotFound},
		"binary text":      {func(b *bench) { b.job.Evaluate.Corpus.Path = b.model.Path }, plugin.Invalid},
		"lost scored text": {func(b *bench) { os.Remove(b.job.Evaluate.Corpus.Path) }, plugin.NotFound},
	} {
		b := newBench(t)
		c.change(b)
		_, err := b.prune(t.Context(), func(int) {})
		if err == nil || plugin.KindOf(err) != c.kind || len(b.traced) > 0 || len(b.runs) > 0 {
			t.Errorf("%s: kind %d, want %d; %d texts traced, %d runs: %v", name, plugin.KindOf(err), c.kind, len(b.traced), len(b.runs), err)
		}
		if left, _ := filepath.Glob(filepath.Join(b.job.Folder, "*.gguf")); len(left) > 0 {
			t.Errorf("%s: made %q", name, left)
		}
	}
}
