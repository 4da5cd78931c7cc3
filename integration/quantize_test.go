package integration

import (
	"context"
	"testing"

	"pare/host/client"
	"pare/integration/tinymodel"
)

// TestPruneQuantizes: the matrices of a model that is cut and quantised in one job have
// the types that Ollama gives them when it quantises the cut one.
func TestPruneQuantizes(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama", Seed: 1})
	prune := func(name, quantize string) {
		r := plainly(client.PruneRequest{Model: "tiny", Name: name, Range: "3-4"})
		r.Repair = &client.Repair{Method: unrepaired.Method, Quantize: quantize}
		if _, err := s.prune(context.Background(), r); err != nil {
			t.Fatalf("%v\n%s", err, s.tail())
		}
	}
	prune("cut", "")
	s.write("Modelfile", "FROM cut\n")
	for _, q := range []string{"q8_0", "q4_K_M", "q4_K_S"} {
		prune("ours-"+q, q)
		s.must("create", "theirs-"+q, "-f", s.home+"/Modelfile", "--quantize", q)
		ours, theirs := s.gguf("ours-"+q), s.gguf("theirs-"+q)
		if len(ours.Tensors) != len(theirs.Tensors) {
			t.Fatalf("%s: %d tensors, want %d", q, len(ours.Tensors), len(theirs.Tensors))
		}
		for _, want := range theirs.Tensors {
			if got, _ := ours.Tensor(want.Name); got.Type != want.Type {
				t.Errorf("%s: %s is in %v, want %v", q, want.Name, got.Type, want.Type)
			}
		}
		if a, b := s.show("ours-"+q), s.show("theirs-"+q); a.Details.QuantizationLevel != b.Details.QuantizationLevel {
			t.Errorf("%s: the server calls it %s, want %s", q, a.Details.QuantizationLevel, b.Details.QuantizationLevel)
		}
		s.generate("ours-"+q, "The light", 4)
	}
	if code, reply := s.post("/api/prune", `{"model": "ours-q8_0", "name": "again", "range": "1", "stream": false, "repair": {"method": "none", "quantize": "f16"}}`); code != 400 && code != 422 {
		t.Errorf("wider types: status %d: %s", code, reply)
	}
	checkStore(t, s.models())
}

// TestRepairQuantized: what is cut and quantised is healed of both.
func TestRepairQuantized(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama", Seed: 1})
	steps, batch, length, rate := 30, 4, 64, 1e-3
	last, err := s.prune(context.Background(), client.PruneRequest{
		Model: "tiny", Name: "healed", Range: "3-4",
		Repair: &client.Repair{
			Quantize: "q4_K_M", Steps: &steps, Batch: &batch, Length: &length, LearningRate: &rate,
			Data: &client.Corpus{Name: "opticks", Text: opticks(t)[20_000:60_000]},
		},
		Evaluate: &client.Evaluate{Tasks: []client.Corpus{{Text: riddles}}},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	stages := last.Report.Repair.Stages
	if len(stages) != 5 || stages[2].Stage != "quantized" {
		t.Fatalf("stages: %+v", stages)
	}
	if whole, quantized, healed := stages[1], stages[2], stages[4]; quantized.KL == whole.KL || healed.KL.Value >= quantized.KL.Value {
		t.Errorf("KL %v cut, %v quantized, %v healed", whole.KL.Value, quantized.KL.Value, healed.KL.Value)
	}
	s.generate("healed", "The light", 4)
	checkStore(t, s.models())
}
