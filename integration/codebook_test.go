package integration

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	fsggml "github.com/ollama/ollama/fs/ggml"
	"github.com/ollama/ollama/ml/backend/ggml"

	"pare/convert/quant"
	"pare/gguf"
	"pare/host/client"
	"pare/plugin"
)

// TestRepairOfCodeBooks heals SmolLM2 with some of its matrices in a type whose numbers
// ggml alone knows: those that the repair needs are stored anew, the others stay.
func TestRepairOfCodeBooks(t *testing.T) {
	s := startServer(t)
	path := filepath.Join(s.home, "iq3.gguf")
	rounded := []string{"blk.3.ffn_down.weight", "blk.20.ffn_down.weight"}
	writeIQ3(t, path, rounded)
	s.create("iq3", path)
	steps, batch, length := 2, 2, 128
	last, err := s.prune(context.Background(), client.PruneRequest{
		Model: "iq3", Name: "healed", Range: "13-18",
		Repair: &client.Repair{
			Method: plugin.RepairQLoRA, Steps: &steps, Batch: &batch, Length: &length,
			Data: &client.Corpus{Name: "opticks", Text: opticks(t)[20_000:30_000]},
		},
		Evaluate: &client.Evaluate{Level: plugin.LevelNone},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	if notes := strings.Join(last.Report.Repair.Notes, "; "); !strings.Contains(notes, "1 matrices of types that cannot be changed") {
		t.Errorf("notes: %s", notes)
	}
	before, after := s.gguf("iq3"), s.gguf("healed")
	kept, _ := after.Tensor(rounded[0])
	source, _ := before.Tensor(rounded[0])
	if kept.Type != gguf.IQ3_S || string(dataOf(t, after, kept)) != string(dataOf(t, before, source)) {
		t.Errorf("%s, which no repair touches, is another: %v", kept.Name, kept.Type)
	}
	if wide, _ := after.Tensor("blk.14.ffn_down.weight"); wide.Type != gguf.Q4_K {
		t.Errorf("%s is in %v", wide.Name, wide.Type)
	}
	s.generate("healed", "The light", 4)
	checkStore(t, s.models())
}

// writeIQ3 writes SmolLM2 with some of its tensors in IQ3_S.
func writeIQ3(t *testing.T, path string, names []string) {
	t.Helper()
	f := openGGUF(t, fromMake(t, "PARE_MODEL"))
	layout := f.Layout()
	for i, source := range layout.Tensors {
		if source.Name != names[0] && source.Name != names[1] {
			continue
		}
		w, err := quant.Floats(source.Type, dataOf(t, f, source.Tensor))
		if err != nil {
			t.Fatal(err)
		}
		data := ggml.Quantize(fsggml.TensorType(gguf.IQ3_S), w, source.Shape)
		source.Type, source.Size = gguf.IQ3_S, uint64(len(data))
		source.From = func() (io.Reader, error) { return strings.NewReader(string(data)), nil }
		layout.Tensors[i] = source
	}
	if _, err := gguf.Write(t.Context(), path, layout, nil); err != nil {
		t.Fatal(err)
	}
}

func dataOf(t *testing.T, f *gguf.File, tensor gguf.Tensor) []byte {
	t.Helper()
	data, err := io.ReadAll(f.Data(tensor))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
