package heal

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pare/repair"
)

func made(form examplesForm, seed int32) repair.Example {
	t := form.Length
	x := repair.Example{
		Tokens: make([]int32, t), Segment: make([]int32, t), Position: make([]int32, t), Target: make([]int32, t),
		Weight: make([]float32, t), State: make([]float32, t*form.Hidden),
		TopTokens: make([]int32, t*form.Top), TopLogProb: make([]float32, t*form.Top),
	}
	for i := range t {
		x.Tokens[i], x.Target[i], x.Segment[i], x.Position[i] = seed+int32(i), seed+int32(i)+1, 1, int32(i)
		x.Weight[i] = 1
	}
	for i := range x.State {
		x.State[i] = float32(math.Sin(float64(i)) * 1e6) // beyond half precision
	}
	for i := range x.TopTokens {
		x.TopTokens[i], x.TopLogProb[i] = int32(i), -float32(i)/7
	}
	return x
}

func TestExamplesComeBack(t *testing.T) {
	form := examplesForm{Digest: "a", Length: 5, Hidden: 3, State: true, Top: 2}
	path := filepath.Join(t.TempDir(), "examples.bin")
	e, err := openExamples(path, form)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(3) {
		if err := e.add(made(form, i)); err != nil {
			t.Fatal(err)
		}
	}
	e.Close()

	// The last record was cut short by a crash.
	if err := os.Truncate(path, 3*e.size()-7); err != nil {
		t.Fatal(err)
	}
	if e, err = openExamples(path, form); err != nil || e.Len() != 2 {
		t.Fatalf("%d examples, %v", e.Len(), err)
	}
	got, err := e.Read(1)
	if err != nil {
		t.Fatal(err)
	}
	want := made(form, 1)
	if !slices.Equal(got.Tokens, want.Tokens) || !slices.Equal(got.TopLogProb, want.TopLogProb) || !slices.Equal(got.TopTokens, want.TopTokens) || !slices.Equal(got.Weight, want.Weight) {
		t.Errorf("read %+v, not %+v", got, want)
	}
	for i, v := range want.State {
		if math.Abs(float64(got.State[i]-v)) > 1e6/2048 {
			t.Errorf("state %d is %g, not %g", i, got.State[i], v)
		}
	}
	e.Close()

	// Those of other text are no use.
	form.Digest = "b"
	if e, err = openExamples(path, form); err != nil || e.Len() != 0 {
		t.Fatalf("%d examples of another text, %v", e.Len(), err)
	}
	e.Close()
}

func TestDamagedExample(t *testing.T) {
	form := examplesForm{Digest: "a", Length: 5, Hidden: 3, State: true, Top: 2}
	path := filepath.Join(t.TempDir(), "examples.bin")
	e, err := openExamples(path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i := range int32(2) {
		if err := e.add(made(form, i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.file.WriteAt([]byte{77}, 9); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Read(0); err == nil {
		t.Error("a damaged example was read")
	}
	again, err := openExamples(path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Len() != 0 {
		t.Errorf("%d examples are kept from the damaged one on", again.Len())
	}
}
