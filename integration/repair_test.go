package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pare/host/client"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// TestRepair cuts layers out of a tiny model and heals it: both steps of the default
// chain leave it nearer to the uncut model than the cut did, on text of other styles.
func TestRepair(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama", Seed: 1})
	steps, batch, length, rate := 30, 4, 64, 1e-3
	r := client.PruneRequest{
		Model: "tiny", Name: "healed", Range: "3-4",
		Repair: &client.Repair{
			Steps: &steps, Batch: &batch, Length: &length, LearningRate: &rate,
			Data: &client.Corpus{Name: "opticks", Text: opticks(t)[20_000:60_000]},
		},
		Evaluate: &client.Evaluate{Tasks: []client.Corpus{{Text: riddles}}},
	}
	last, err := s.prune(context.Background(), r)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	repaired := last.Report.Repair
	if repaired == nil || repaired.Training == nil || len(repaired.Linear) != 1 || repaired.Merge == nil {
		t.Fatalf("repair: %+v", repaired)
	}
	var names []string
	for _, stage := range repaired.Stages {
		names = append(names, fmt.Sprintf("%s %.4f", stage.Stage, stage.KL.Value))
	}
	t.Log("KL:", strings.Join(names, ", "), "kept:", repaired.Merge.Kept, repaired.Notes)
	if len(repaired.Stages) != 4 {
		t.Fatalf("stages: %s", names)
	}
	for i := 2; i < 4; i++ {
		if repaired.Stages[i].KL.Value >= repaired.Stages[1].KL.Value {
			t.Errorf("%s is no nearer than the cut: %s", repaired.Stages[i].Stage, names)
		}
	}
	if curve := repaired.Training.Curve; *curve[len(curve)-1].Held >= *curve[0].Held {
		t.Errorf("training gained nothing on held-out text: %v", curve)
	}
	if repaired.Linear[0].Layer != 2 || !(repaired.Linear[0].Error < 1) {
		t.Errorf("closed form: %+v", repaired.Linear[0])
	}
	if got := last.Report.Result.Layers; got != 6 {
		t.Errorf("the result has %d layers", got)
	}
	s.generate("healed", "The light", 4)
	checkStore(t, s.models())
}

// TestRepairWithoutAdapters trains matrices themselves: the last layers and the head, or all.
// Either way the model comes nearer to the uncut one, and is served. Its head was the embedding.
func TestRepairWithoutAdapters(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "qwen3", Seed: 1})
	steps, batch, length, rate := 30, 4, 64, 2e-4
	for _, method := range []string{plugin.RepairPartial, plugin.RepairFull} {
		last, err := s.prune(context.Background(), client.PruneRequest{
			Model: "tiny", Name: method, Range: "3-4",
			Repair: &client.Repair{
				Method: method, Steps: &steps, Batch: &batch, Length: &length, LearningRate: &rate,
				Data: &client.Corpus{Name: "opticks", Text: opticks(t)[20_000:60_000]},
			},
			Evaluate: &client.Evaluate{Tasks: []client.Corpus{{Text: riddles}}},
		})
		if err != nil {
			t.Fatalf("%s: %v\n%s", method, err, s.tail())
		}
		stages := last.Report.Repair.Stages
		if len(stages) != 3 || stages[2].KL.Value >= stages[1].KL.Value {
			t.Fatalf("%s: %d stages, notes %q, curve %+v", method, len(stages), last.Report.Repair.Notes, last.Report.Repair.Training)
		}
		t.Logf("%s: KL %.4f, before %.4f", method, stages[2].KL.Value, stages[1].KL.Value)
		s.generate(method, "The light", 4)
	}
	if _, ok := s.gguf(plugin.RepairPartial).Tensor("output.weight"); !ok {
		t.Error("the trained head is not in the file")
	}
	checkStore(t, s.models())
}

// TestRepairLeavesAnAdapter: what was learnt stands beside the model, which the server
// loads with it, and which answers otherwise than alone.
func TestRepairLeavesAnAdapter(t *testing.T) {
	s := startServerWith(t, "--trace=1")
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama", Seed: 1, Float32: true})
	steps, batch, length, rank, rate := 30, 4, 64, 8, 1e-2
	request := func(name string, adapter bool) client.PruneRequest {
		return client.PruneRequest{
			Model: "tiny", Name: name, Range: "3-4",
			Repair: &client.Repair{
				Method: "qlora", Adapter: adapter, Steps: &steps, Batch: &batch, Length: &length, Rank: &rank, LearningRate: &rate,
				Data: &client.Corpus{Name: "opticks", Text: opticks(t)[20_000:60_000]},
			},
			Evaluate: &client.Evaluate{Tasks: []client.Corpus{{Text: riddles}}},
		}
	}
	last, err := s.prune(context.Background(), request("healed", true))
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	repaired := last.Report.Repair
	if repaired == nil || repaired.Adapter == nil || repaired.Adapter.Tensors == 0 || repaired.Merge != nil {
		t.Fatalf("repair: %+v", repaired)
	}
	if stages := repaired.Stages; len(stages) != 3 || stages[2].KL.Value >= stages[1].KL.Value {
		t.Errorf("stages: %+v", stages)
	}
	if shown := s.must("show", "healed", "--modelfile"); !strings.Contains(shown, "\nADAPTER ") {
		t.Errorf("the model has no adapter:\n%s", shown)
	}
	with := s.generate("healed", "The light", 12)
	s.generate("tiny", "The light", 12)
	traced, err := s.client().Traced(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(traced) == 0 {
		t.Error("nothing was traced")
	}
	for _, m := range traced { // what has an adapter is another model than the GGUF
		if counted := len(m.Labels) > 0 && m.Labels[0].Requests == 1; counted != (m.Model == "tiny:latest") {
			t.Errorf("traced: %+v", m)
		}
	}
	cut := request("cut", false)
	cut.Repair = unrepaired
	if _, err := s.prune(context.Background(), cut); err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	if alone := s.generate("cut", "The light", 12); alone == with {
		t.Errorf("with and without the adapter the answer is %q", with)
	}
	checkMerges(s, with)
	checkStore(t, s.models())
}

// checkMerges merges the adapter of "healed", which then answers as it did with the
// adapter beside it and can be cut; one for another model is refused.
func checkMerges(s *server, with string) {
	s.tb.Helper()
	if _, says, err := s.pare("prune", "healed", "smaller", "--drop", "2"); err == nil || !strings.Contains(says, "`pare merge healed:latest NAME`") {
		s.tb.Errorf("a model with an adapter is refused: %v, %s", err, says)
	}
	if out := s.must("merge", "healed", "merged"); !strings.Contains(out, "merged:latest is healed:latest with its adapter in its weights") {
		s.tb.Errorf("merge says: %s", out)
	}
	if got := s.generate("merged", "The light", 12); got != with {
		s.tb.Errorf("with the adapter merged the answer is %q, and it was %q", got, with)
	}
	if shown := s.must("show", "merged", "--modelfile"); strings.Contains(shown, "\nADAPTER ") {
		s.tb.Errorf("the merged model still has an adapter:\n%s", shown)
	}
	s.must("prune", "merged", "smaller", "--drop", "2-3", "--repair", "none", "--evaluate", "none")
	if _, says, err := s.pare("repair", "merged", "again"); err == nil || !strings.Contains(says, "had an adapter merged into it") {
		s.tb.Errorf("a repair that would lose the adapter: %v, %s", err, says)
	}

	adapter := ""
	for _, line := range strings.Split(s.must("show", "healed", "--modelfile"), "\n") {
		if path, ok := strings.CutPrefix(line, "ADAPTER "); ok {
			adapter = path
		}
	}
	s.must("prune", "tiny", "cut-q4", "--drop", "3-4", "--repair", "none", "--quantize", "q4_K_M", "--evaluate", "none")
	s.create("rounded", "cut-q4", "ADAPTER "+adapter)
	if out := s.must("merge", "rounded", "wide"); !strings.Contains(out, "changed matrices are stored in Q8_0") {
		s.tb.Errorf("a merge into few bits says: %s", out)
	}
	s.generate("wide", "The light", 4)

	s.createTiny("other", tinymodel.Config{Architecture: "qwen2", Seed: 1})
	s.create("misfit", "other", "ADAPTER "+adapter)
	before := s.contents()
	code, reply := s.post("/api/prune/merge", `{"model": "misfit", "name": "never", "stream": false}`)
	if code != http.StatusUnprocessableEntity || !strings.Contains(reply, "made for another model") || !strings.Contains(reply, "FROM what the adapter was trained on") {
		s.tb.Errorf("an adapter for another base: status %d: %s", code, reply)
	}
	checkUntouched(s, before)
}

// TestRepairRefuses asks for what cannot be learnt, or not from this.
func TestRepairRefuses(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama", Seed: 1})
	before := s.contents()
	for says, request := range map[string]string{
		`rank`:           `{"method": "qlora", "rank": 100000}`,
		`one short text`: `{"method": "qlora", "data": {"text": "One line."}}`,
		`method is`:      `{"method": "magic"}`,
		`"targets"`:      `{"method": "qlora", "targets": "embeddings"}`,
		`give f16`:       `{"method": "qlora", "quantize": "q9"}`,
		`adapter is for`: `{"method": "linear", "adapter": true}`,
	} {
		body := fmt.Sprintf(`{"model": "tiny", "name": "small", "range": "3-4", "stream": false, "evaluate": {"level": "none"}, "repair": %s}`, request)
		code, reply := s.post("/api/prune", body)
		if code == http.StatusOK || code == http.StatusInternalServerError || !strings.Contains(reply, strings.Trim(says, `"`)) {
			t.Errorf("%s: status %d, want one that says %q: %s", request, code, says, reply)
		}
	}
	checkUntouched(s, before)
}
