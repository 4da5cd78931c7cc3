package heal

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"pare/plugin"
	"pare/plugin/lessons"
)

// A watched host tells every token the same of each model: a residual of its number, and
// a likeliest token that is.
type watched struct {
	plugin.Host // nil: nothing else is asked of it
	number      map[string]float32
	asked       []plugin.ObserveRequest
}

func (w *watched) Observe(_ context.Context, r plugin.ObserveRequest, each func(plugin.Observation) error) error {
	w.asked = append(w.asked, r)
	n := w.number[r.Variant.Path]
	for i, s := range r.Sequences {
		o := plugin.Observation{Sequence: i}
		for _, p := range r.Points {
			o.States = append(o.States, slices.Repeat([]float32{n + float32(p.Layer)}, len(s)))
		}
		o.TopTokens = slices.Repeat([]int32{int32(n)}, r.Top*len(s))
		o.TopLogProb = make([]float32, r.Top*len(s))
		if err := each(o); err != nil {
			return err
		}
	}
	return nil
}

// Where the layers below a cut are stored anew, training begins with what they compute
// now, and learns what the uncut model makes of it.
func TestExamplesAreOfTheLayersThatTheResultHas(t *testing.T) {
	packed := lessons.Packed{
		Rows: []lessons.Row{{
			Tokens: []int32{1, 2, 3}, Segment: []int32{1, 1, 1}, Position: []int32{0, 1, 2},
			Target: []int32{2, 3, 0}, Weight: []float32{1, 1, 0}, Pieces: []int{0},
		}},
		Pieces: []lessons.Piece{{To: 3, Tokens: []int32{1, 2, 3}}},
	}
	p := Patient{Model: plugin.Model{Name: "m"}, Layers: 8}
	form := examplesForm{Digest: "a", Length: 3, Hidden: 1, State: true, Aim: true, Top: 1}
	for beneath, state := range map[string]float32{"": 102, "quantized.gguf": 202} {
		host := &watched{number: map[string]float32{"": 100, "quantized.gguf": 200}}
		told := 0
		e, err := observe(t.Context(), p, filepath.Join(t.TempDir(), "examples.bin"), packed, form,
			looks(p, form, 2, plugin.Variant{Path: beneath}), host, func(n int) { told += n })
		if err != nil {
			t.Fatal(err)
		}
		x, err := e.Read(0)
		e.Close()
		if err != nil || x.State[0] != state || x.Aim[0] != 108 || x.TopTokens[0] != 100 || told != 3 {
			t.Errorf("beneath %q: enters %v, learns %v and %v, %d tokens told of (%v)", beneath, x.State, x.Aim, x.TopTokens, told, err)
		}
		for _, r := range host.asked {
			if r.Variant.Path != "" && (r.Top > 0 || len(r.Points) != 1) {
				t.Errorf("of %s was asked %+v", beneath, r)
			}
		}
	}
}
