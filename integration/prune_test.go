package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pare/gguf"
	"pare/host/client"
	"pare/plugin"
)

// modelfile is all that a model can have beside its weights.
var modelfile = []string{
	`TEMPLATE """{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}<|im_start|>user
{{ .Prompt }}<|im_end|>
<|im_start|>assistant
{{ .Response }}<|im_end|>
"""`,
	`SYSTEM "You answer in few words."`,
	`PARAMETER temperature 0.5`,
	`PARAMETER num_ctx 1024`,
	`PARAMETER num_thread 1`, // two that wait for each other are slow on a busy machine
	`PARAMETER stop <|im_end|>`,
	`LICENSE """Apache License, Version 2.0"""`,
}

// TestPrune takes a real model through the main job by the command line, and
// looks at all that it leaves.
func TestPrune(t *testing.T) {
	s := startServer(t)
	s.create("smollm2", fromMake(t, "PARE_MODEL"), modelfile...)
	s.write("prose.txt", prose(t))
	before, said := s.contents(), s.generate("smollm2", "The sun is", 8)

	s.must("profile", "smollm2", "--corpus", "prose.txt")
	out := s.must("prune", "smollm2", "small", "--drop", "20%", "--corpus", "prose.txt", "--repair", "none")
	for _, want := range []string{"layers 13-18 of 30 go", "chosen by auto", "smollm2:latest", "small:latest", "24", "Verdict: repair first"} {
		if !strings.Contains(out, want) {
			t.Errorf("the command's report lacks %q:\n%s", want, out)
		}
	}

	t.Run("file", func(t *testing.T) { checkCutFile(t, s.in(t), "smollm2", "small", 6) })
	t.Run("report", func(t *testing.T) { checkJudged(t, s.in(t)) })
	t.Run("show", func(t *testing.T) { checkShown(t, s.in(t), "smollm2", "small") })
	t.Run("answers", func(t *testing.T) { checkAnswers(s.in(t), "small") })
	t.Run("no second copy", func(t *testing.T) {
		checkStore(t, s.models())
		if n := links(t, s.blob("small")); n != 1 {
			t.Errorf("the new GGUF has %d names, want 1", n)
		}
	})
	t.Run("parent unchanged", func(t *testing.T) {
		after := s.in(t).contents()
		for path, sum := range before {
			if after[path] != sum {
				t.Errorf("%s was %s and is %s", path, sum, after[path])
			}
		}
		if again := s.in(t).generate("smollm2", "The sun is", 8); again != said {
			t.Errorf("the parent said %q and says %q", said, again)
		}
	})
	t.Run("name taken", func(t *testing.T) { checkReplaced(t, s.in(t)) })
	t.Run("kept profile", func(t *testing.T) {
		rate := 0.1
		stages := s.in(t).stages(plainly(client.PruneRequest{Model: "smollm2", Name: "smaller", Drop: &rate}))
		if want := []string{"profile", "plan", "cut", "register"}; !slices.Equal(stages, want) {
			t.Errorf("a second rate went through %v, want %v", stages, want)
		}
		if n := s.in(t).gguf("smaller"); count(n, "llama.block_count") != 27 {
			t.Errorf("a tenth of 30 layers leaves %d", count(n, "llama.block_count"))
		}
	})
}

// prose is text enough to choose by, and for a part of it to be held out.
func prose(tb testing.TB) string { return opticks(tb)[20_000:29_000] }

// checkJudged looks at what was measured of the cut: what it says, and that it was
// measured on text that had no part in the choice.
func checkJudged(t *testing.T, s *server) {
	var r plugin.Report
	checkReports(t, s, s.job("prune").ID, &r, "layers 13-18 of 30 go", "perplexity", "KL divergence", "repair first")
	e := r.Evaluation
	if e == nil || e.Verdict == nil || e.Verdict.Say != plugin.SayRepair || r.Plan.Criterion != "auto" || r.Unmeasured != "" {
		t.Fatalf("the report says %+v", r)
	}
	if all := e.Text[0]; all.Style != "all" || len(e.Text) < 10 || !(all.Rise.Low > 0.3) || !(all.KL.High < 1.5) || !(all.Agreement.Value > 0.3) {
		t.Errorf("text: %+v", e.Text)
	}
	if e.Tasks[0].Questions < 50 || e.Generation.Prompts < 3 || e.Generation.ChrF > 95 || len(e.Generation.Samples) == 0 || !(e.Speed.Prompt.Median > 1) {
		t.Errorf("tasks %+v, answers %+v, speed %+v", e.Tasks[0], e.Generation, e.Speed)
	}
	if e.Before.Footprint.Resident <= e.After.Footprint.Resident || e.After.Footprint.KVPerToken*30 != e.Before.Footprint.KVPerToken*24 {
		t.Errorf("memory was %+v and is %+v", e.Before.Footprint, e.After.Footprint)
	}
	used := s.kept("smollm2").Corpora
	if len(used) != 1 || len(r.Plan.Text) != 1 || len(used[0].Texts) == 0 || len(e.Corpora[0].Texts) == 0 {
		t.Fatalf("traced %v, chosen by %v, scored %v", used, r.Plan.Text, e.Corpora)
	}
	for _, digest := range e.Corpora[0].Texts {
		if slices.Contains(used[0].Texts, digest) || slices.Contains(r.Plan.Text[0].Texts, digest) {
			t.Errorf("text %s was used to choose, and scored", digest)
		}
	}
}

// job is the newest job of a kind.
func (s *server) job(kind string) client.Job {
	s.tb.Helper()
	jobs, err := s.client().Jobs(context.Background())
	if err != nil {
		s.tb.Fatal(err)
	}
	for _, j := range jobs {
		if j.Kind == kind {
			return j
		}
	}
	s.tb.Fatalf("there is no %s job: %+v", kind, jobs)
	return client.Job{}
}

// stages runs a job and lists what it went through.
func (s *server) stages(r client.PruneRequest) (stages []string) {
	s.tb.Helper()
	_, err := s.client().Prune(context.Background(), r, func(p client.Progress) {
		if p.Stage != "" && !slices.Contains(stages, p.Stage) {
			stages = append(stages, p.Stage)
		}
	})
	if err != nil {
		s.tb.Fatalf("prune: %v\n%s", err, s.tail())
	}
	return stages
}

// count is an integer of a file's metadata.
func count(f *gguf.File, key string) int {
	v, _ := f.KV(key)
	n, _ := v.Int()
	return int(n)
}

// removedLayers are those that a file says it lacks.
func removedLayers(f *gguf.File) (removed []int) {
	v, _ := f.KV("pare.removed_layers")
	for i := range max(v.Len(), 0) {
		n, _ := v.At(i).Int()
		removed = append(removed, int(n))
	}
	return removed
}

// checkCutFile compares a cut GGUF with its parent: n layers fewer, all others
// byte for byte, and marks that say what was done.
func checkCutFile(t *testing.T, s *server, parent, child string, n int) {
	whole, cut := s.gguf(parent), s.gguf(child)
	arch, _ := whole.KV("general.architecture")
	key, _ := arch.Str()
	key += ".block_count"
	layers := count(whole, key)
	if got := count(cut, key); got != layers-n {
		t.Fatalf("%d layers of %d are left, want %d", got, layers, layers-n)
	}
	removed := removedLayers(cut)
	if len(removed) != n {
		t.Fatalf("pare.removed_layers is %v, want %d of them", removed, n)
	}
	digest, _ := cut.KV("pare.parent.digest")
	if got, _ := digest.Str(); strings.Replace(got, ":", "-", 1) != filepath.Base(s.blob(parent)) {
		t.Errorf("pare.parent.digest is %q, the parent's blob is %s", got, s.blob(parent))
	}
	if count(cut, "pare.traced_tokens") == 0 {
		t.Error("pare.traced_tokens is missing or 0")
	}
	left, gone := 0, int64(0)
	for _, t0 := range whole.Tensors {
		name, ok := renamed(t0.Name, removed)
		if !ok {
			gone += int64(t0.Size)
			continue
		}
		left++
		t1, ok := cut.Tensor(name)
		if !ok {
			t.Errorf("%s is missing; it should be %s", t0.Name, name)
		} else if t0.Type != t1.Type || !slices.Equal(t0.Shape, t1.Shape) || !sameData(t, whole, t0, cut, t1) {
			t.Errorf("%s is not what %s was", name, t0.Name)
		}
	}
	if len(cut.Tensors) != left {
		t.Errorf("the cut file has %d tensors, want %d", len(cut.Tensors), left)
	}
	// The headers differ by a few keys and by the descriptions of the tensors.
	if less := whole.Size - cut.Size; less < gone-4096 || less > gone+32*1024 {
		t.Errorf("the file is %d bytes smaller; the removed tensors had %d", less, gone)
	}
}

// renamed is what a tensor is called once layers are removed, or false if it
// belongs to one of them.
func renamed(name string, removed []int) (string, bool) {
	var layer int
	if n, _ := fmt.Sscanf(name, "blk.%d.", &layer); n != 1 {
		return name, true
	}
	if slices.Contains(removed, layer) {
		return "", false
	}
	before := 0
	for _, r := range removed {
		if r < layer {
			before++
		}
	}
	return strings.Replace(name, fmt.Sprintf("blk.%d.", layer), fmt.Sprintf("blk.%d.", layer-before), 1), true
}

func sameData(t *testing.T, f *gguf.File, a gguf.Tensor, g *gguf.File, b gguf.Tensor) bool {
	t.Helper()
	x, err := io.ReadAll(f.Data(a))
	if err != nil {
		t.Fatal(err)
	}
	y, err := io.ReadAll(g.Data(b))
	if err != nil {
		t.Fatal(err)
	}
	return len(x) > 0 && bytes.Equal(x, y)
}

// sortedLines puts lines in order: the server lists parameters in any.
func sortedLines(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// checkShown compares what the server tells of a model and of its cut.
func checkShown(t *testing.T, s *server, parent, child string) {
	a, b := s.show(parent), s.show(child)
	if a.Template == "" || a.System == "" || a.Parameters == "" || a.License == "" {
		t.Fatalf("the parent lacks what is to be preserved: %+v", a)
	}
	for field, v := range map[string][2]string{
		"template": {a.Template, b.Template}, "system": {a.System, b.System},
		"parameters": {sortedLines(a.Parameters), sortedLines(b.Parameters)}, "license": {a.License, b.License},
		"format": {a.Details.Format, b.Details.Format}, "family": {a.Details.Family, b.Details.Family},
		"quantization": {a.Details.QuantizationLevel, b.Details.QuantizationLevel},
	} {
		if v[0] != v[1] || v[0] == "" {
			t.Errorf("%s was %q and is %q", field, v[0], v[1])
		}
	}
	numbers := uint64(0)
	for _, tensor := range s.gguf(child).Tensors {
		n := uint64(1)
		for _, d := range tensor.Shape {
			n *= d
		}
		numbers += n
	}
	if want := fmt.Sprintf("%.2fM", float64(numbers)/1e6); b.Details.ParameterSize != want {
		t.Errorf("parameter size is %s, the file holds %s", b.Details.ParameterSize, want)
	}
	if got := b.ModelInfo["general.parameter_count"]; got != float64(numbers) {
		t.Errorf("general.parameter_count is %v, the file holds %d", got, numbers)
	}
}

// checkAnswers talks to a model in each way that there is.
func checkAnswers(s *server, model string) {
	s.tb.Helper()
	s.generate(model, "The sun is", 4)
	messages := []map[string]string{{"role": "user", "content": "What is red?"}}
	for path, request := range map[string]map[string]any{
		"/api/generate":        {"prompt": "What is red?", "options": map[string]any{"num_predict": 8}},
		"/api/chat":            {"messages": messages, "options": map[string]any{"num_predict": 8}},
		"/v1/chat/completions": {"messages": messages, "max_tokens": 8},
	} {
		maps.Copy(request, map[string]any{"model": model, "stream": false})
		code, body := s.post(path, request)
		var answer struct {
			EvalCount int `json:"eval_count"`
			Usage     struct {
				Tokens int `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal([]byte(body), &answer); code != http.StatusOK || err != nil {
			s.tb.Errorf("%s: status %d, %v: %s", path, code, err, body)
		} else if answer.EvalCount+answer.Usage.Tokens == 0 {
			s.tb.Errorf("%s gave no token: %s", path, body)
		}
	}
}

// checkReplaced asks for names that are taken: refused, and by force allowed,
// which deletes what had the name; but the parent's own never.
func checkReplaced(t *testing.T, s *server) {
	old, parent := s.blob("small"), s.blob("smollm2")
	three := plainly(client.PruneRequest{Model: "smollm2", Name: "small", Range: "12-14"})
	for _, refused := range []client.PruneRequest{
		three,
		{Model: "smollm2", Name: "Small:latest", Range: "12-14"},
		{Model: "smollm2", Name: "smollm2", Range: "12-14"},
		{Model: "smollm2", Name: "smollm2", Range: "12-14", Force: true},
	} {
		code, body := s.post("/api/prune", refused)
		if code != http.StatusConflict || !strings.Contains(body, "choose another name") {
			t.Errorf("%s, force %v: status %d: %s", refused.Name, refused.Force, code, body)
		}
	}
	if s.blob("small") != old || s.blob("smollm2") != parent {
		t.Error("a refused job changed the store")
	}
	three.Force = true
	s.stages(three)
	if got, want := removedLayers(s.gguf("small")), []int{12, 13, 14}; !slices.Equal(got, want) {
		t.Errorf("the replacement lacks layers %v, want %v", got, want)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the replaced GGUF is still there: %v", err)
	}
	checkStore(t, s.models())
	s.generate("small", "The sun is", 4)
}
