package host

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pare/gguf/gguftest"
	"pare/host/client"
	"pare/plugin"
)

// skilled is a pruner that says what it can repair by, and keeps the last job.
type skilled struct {
	scripted
	repairs []string
	got     plugin.Job
	lessons string
}

func (s *skilled) Describe(context.Context) (plugin.Description, error) {
	return plugin.Description{Name: "skilled", Repairs: s.repairs}, nil
}

func (s *skilled) Prune(_ context.Context, j plugin.Job, _ plugin.Host, _ func(plugin.Event)) (plugin.Report, error) {
	s.got = j
	b, _ := os.ReadFile(j.Repair.Data.Path)
	s.lessons = string(b)
	return plugin.Report{Job: j.ID}, nil
}

func TestARepairIsHandedOn(t *testing.T) {
	p := &skilled{repairs: []string{plugin.RepairLinearQLoRA, plugin.RepairQLoRA}}
	js := testJobs(t, p)
	rank := 4
	r := request("small", 2)
	r.Repair = &client.Repair{Method: plugin.RepairQLoRA, Rank: &rank, Data: &client.Corpus{Name: "notes.txt", Text: "to learn from"}}
	j, err := js.prune(r)
	if _, err := finish(t, j, err); err != nil {
		t.Fatal(err)
	}
	want := plugin.Repair{Method: plugin.RepairQLoRA, Rank: 4, Data: p.got.Repair.Data}
	if p.got.Repair != want || p.got.Repair.Data.Name != "notes.txt" || p.lessons != "to learn from" {
		t.Errorf("the plugin got %+v with %q", p.got.Repair, p.lessons)
	}
	if _, err := os.Stat(p.got.Repair.Data.Path); !os.IsNotExist(err) {
		t.Errorf("the text is kept after the job: %v", err)
	}
	if got := state1(t, js); got.What != "2 layers, qlora" {
		t.Errorf("listed as %q", got.What)
	}
}

// The default is the plugin's, answers of the uncut model are no text of the
// request, and a dry run repairs nothing.
func TestARepairLeftOut(t *testing.T) {
	for name, c := range map[string]struct {
		repair *client.Repair
		dry    bool
		want   plugin.Repair
	}{
		"left out": {nil, false, plugin.Repair{}},
		"self":     {&client.Repair{Data: &client.Corpus{Name: plugin.DataSelf}}, false, plugin.Repair{}},
		"none":     {&client.Repair{Method: plugin.RepairNone}, false, plugin.Repair{Method: plugin.RepairNone}},
		"dry run":  {&client.Repair{Method: plugin.RepairFull}, true, plugin.Repair{Method: plugin.RepairNone}},
	} {
		p := &skilled{}
		js := testJobs(t, p)
		r := request("small", 2)
		r.Repair, r.DryRun = c.repair, c.dry
		j, err := js.prune(r)
		if _, err := finish(t, j, err); err != nil || p.got.Repair != c.want {
			t.Errorf("%s: %v, the plugin got %+v, want %+v", name, err, p.got.Repair, c.want)
		}
	}
}

func TestARepairBelongsToTheJobsID(t *testing.T) {
	js := testJobs(t, &skilled{repairs: []string{plugin.RepairQLoRA}})
	steps := 7
	seen := map[string]string{}
	for name, repair := range map[string]*client.Repair{
		"left out": nil, "none": {Method: plugin.RepairNone}, "seven steps": {Steps: &steps}, "a seed": {Seed: 3},
		"data": {Data: &client.Corpus{Text: "one"}}, "other data": {Data: &client.Corpus{Text: "another"}},
	} {
		r := request("", 2)
		r.Repair, r.Discard = repair, true
		j, err := js.prune(r)
		if _, err := finish(t, j, err); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other := seen[j.id]; other != "" {
			t.Errorf("%s is the same job as %s", name, other)
		}
		seen[j.id] = name
	}
}

// A plugin that knows nothing of a method would leave it out in silence.
func TestAPluginThatCannotRepair(t *testing.T) {
	for says, repairs := range map[string][]string{"skilled cannot repair;": nil, "it has linear, full": {"linear", "full"}} {
		js := testJobs(t, &skilled{repairs: repairs})
		r := request("small", 2)
		r.Repair = &client.Repair{Method: plugin.RepairQLoRA}
		j, err := js.prune(r)
		if _, err := finish(t, j, err); plugin.KindOf(err) != plugin.Unsupported || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// Ollama's own engine loads no adapters.
func TestAnAdapterThatNobodyLoads(t *testing.T) {
	js := testJobs(t, &skilled{repairs: []string{plugin.RepairQLoRA}})
	r := request("small", 2)
	r.Repair = &client.Repair{Method: plugin.RepairQLoRA, Adapter: true}
	t.Setenv("OLLAMA_NEW_ENGINE", "1")
	if _, err := js.prune(r); plugin.KindOf(err) != plugin.Refused || !strings.Contains(err.Error(), "loads no adapters") {
		t.Errorf("on Ollama's engine: %v", err)
	}
	t.Setenv("OLLAMA_NEW_ENGINE", "0")
	j, err := js.prune(r)
	if _, err := finish(t, j, err); err != nil {
		t.Errorf("on llama.cpp: %v", err)
	}
}

// A comparison that was stopped goes on behind what it has judged.
func TestADiscardedResultIsToldAgain(t *testing.T) {
	calls := 0
	js := testJobs(t, &scripted{prune: func(_ context.Context, j plugin.Job, _ plugin.Host, _ func(plugin.Event)) (plugin.Report, error) {
		calls++
		r := plugin.Report{Job: j.ID, PluginName: "scripted"}
		b, err := json.Marshal(r)
		if err != nil {
			return r, err
		}
		return r, os.WriteFile(filepath.Join(j.Folder, "report.json"), b, 0o600)
	}})
	r := client.PruneRequest{Model: "parent", Range: "2-3", Discard: true}
	for range 2 {
		j, err := js.prune(r)
		last, err := finish(t, j, err)
		if err != nil || last.Report.Job != j.id || last.Report.PluginName != "scripted" {
			t.Errorf("%+v, %v", last, err)
		}
	}
	if calls != 1 {
		t.Errorf("it was made %d times", calls)
	}
}

func TestADiscardedResultHasNoName(t *testing.T) {
	p := &skilled{}
	js := testJobs(t, p)
	r := request("", 2)
	r.Discard = true
	j, err := js.prune(r)
	if _, err := finish(t, j, err); err != nil || p.got.Name != "" || p.got.DryRun {
		t.Errorf("%v, the plugin got %+v", err, p.got)
	}
	for says, r := range map[string]client.PruneRequest{
		"leave name and dry_run out": {Model: "parent", Range: "2", Discard: true, Name: "small"},
		"is made to be judged":       {Model: "parent", Range: "2", Discard: true, Evaluate: &client.Evaluate{Level: plugin.LevelNone}},
		"repair: data: give text":    {Model: "parent", Range: "2", Name: "small", Repair: &client.Repair{Data: &client.Corpus{Name: ownCorpus}}},
		"repair: data: it is empty":  {Model: "parent", Range: "2", Name: "small", Repair: &client.Repair{Data: &client.Corpus{Name: "empty.txt"}}},
		"targets is for adapters":    {Model: "parent", Range: "2", Name: "small", DryRun: true, Repair: &client.Repair{Method: plugin.RepairFull, Targets: "all"}},
	} {
		if _, err := js.prune(r); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// What a request's JSON has of a repair is read as strictly as the rest of it.
func TestARepairIsReadStrictly(t *testing.T) {
	for body, says := range map[string]string{
		`{"repair":{"rank":"high"}}`:          "repair.rank is a string; it has to be a number",
		`{"repair":{"ranks":1}}`:              `unknown field "ranks"`,
		`{"repair":{"data":{"path":"/x"}}}`:   `unknown field "path"`,
		`{"repair":{"data":{"text":7}}}`:      "repair.data.text is a number; it has to be a string",
		`{"repair":7}`:                        "repair: give the name of a method, or an object",
		`{"repair":["linear"]}`:               "repair: give the name of a method, or an object",
		`{"repair":{"learning_rate":"1e-4"}}`: "repair.learning_rate is a string; it has to be a number",
	} {
		var r client.PruneRequest
		if err := decode(strings.NewReader(body), &r); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", body, err, says)
		}
	}
}

// cutFrom is the head of a file that Pare cut.
func cutFrom(parent string, removed []uint32, more ...gguftest.KV) []byte {
	return gguftest.Builder{KVs: append([]gguftest.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "pare.parent.digest", Value: parent},
		{Key: "pare.removed_layers", Value: removed},
	}, more...)}.Bytes()
}

func TestOriginOfACutModel(t *testing.T) {
	emptyStore(t)
	parent := putModel(t, "whole", tiny(t, 8, 1))
	putModel(t, "also-whole", tiny(t, 8, 1))
	digest := parent.gguf.Digest
	system := putBlob(t, "application/vnd.ollama.image.system", []byte("You assist."))
	putModel(t, "a-bot", tiny(t, 8, 1), system)
	putModel(t, "cut", cutFrom(digest, []uint32{2, 4, 5, 6}))
	putModel(t, "cut-bot", cutFrom(digest, []uint32{2, 4, 5, 6}, gguftest.KV{Key: "pare.quantize", Value: "Q8_0"}), system)
	putModel(t, "twice", cutFrom(digest, []uint32{1}, gguftest.KV{Key: "pare.history", Value: []string{`{"parent":"sha256:00"}`}}))
	putModel(t, "beside", cutFrom(digest, []uint32{1}), putBlob(t, mediaAdapter, []byte("adapter")))
	putModel(t, "adapted", cutFrom(digest, []uint32{1}, gguftest.KV{Key: "pare.adapter", Value: "sha256:1"}))
	putModel(t, "orphan", cutFrom("sha256:"+strings.Repeat("0", 64), []uint32{1}))

	want := client.Origin{Model: "cut:latest", Parent: "also-whole:latest", Digest: digest, Removed: "2,4-6"}
	if o, err := origin("cut"); err != nil || o != want {
		t.Errorf("%+v, %v; want %+v", o, err, want)
	}
	// Of models with the same file it is the one with the same words beside it.
	want.Model, want.Parent, want.Quantize = "cut-bot:latest", "a-bot:latest", "Q8_0"
	if o, err := origin("cut-bot"); err != nil || o != want {
		t.Errorf("%+v, %v; want %+v", o, err, want)
	}
	for name, c := range map[string]struct {
		kind plugin.Kind
		says string
	}{
		"whole":     {plugin.Refused, `"whole:latest" was not cut by Pare; cut and repair`},
		"twice":     {plugin.Refused, "was cut more than once"},
		"adapted":   {plugin.Refused, "had an adapter merged into it"},
		"beside":    {plugin.Refused, "repair the model as it is without the adapter"},
		"orphan":    {plugin.NotFound, "pull or create that model again"},
		"elsewhere": {plugin.NotFound, "not found"},
	} {
		if _, err := origin(name); plugin.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
