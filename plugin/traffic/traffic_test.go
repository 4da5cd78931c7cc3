package traffic

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"pare/plugin"
)

const layers = 3

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// chunk is traffic with sums that differ from any other's.
func chunk(label string, seed uint64, tokens int64) Chunk {
	r := rand.New(rand.NewPCG(1, seed))
	sums := func(tokens, out int64) plugin.Sums {
		s := plugin.NewSums(layers)
		s.Tokens, s.OutTokens = tokens, out
		for _, row := range [][]float64{s.Angle, s.Cosine, s.Step, s.Norm} {
			for i := range row {
				row[i] = float64(tokens) * r.Float64()
			}
		}
		return s
	}
	from := start.Add(time.Duration(seed) * time.Minute)
	return Chunk{
		Label: label, From: from, To: from.Add(time.Second), Requests: 1, Prompt: tokens, Generated: 2, Skipped: 3,
		Delta: plugin.TraceDelta{Layers: layers, Hidden: 8, All: sums(tokens-1, tokens/2), Last: sums(tokens/2, tokens/2), First: sums(1, 0)},
	}
}

func open(t *testing.T, folder string) *Store {
	t.Helper()
	s, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func add(t *testing.T, s *Store, cs ...Chunk) {
	t.Helper()
	for _, c := range cs {
		if err := s.Add(c); err != nil {
			t.Fatal(err)
		}
	}
}

func sum(t *testing.T, cs []Chunk) Chunk {
	t.Helper()
	c, err := Sum(cs)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// near reports whether all sums of two chunks agree but for rounding.
func near(a, b Chunk) bool {
	flat := func(c Chunk) (out []float64) {
		for _, s := range []plugin.Sums{c.Delta.All, c.Delta.Last, c.Delta.First} {
			for _, row := range [][]float64{s.Angle, s.Cosine, s.Step, s.Norm} {
				out = append(out, row...)
			}
		}
		return out
	}
	x, y := flat(a), flat(b)
	for i := range x {
		if math.Abs(x[i]-y[i]) > 1e-9*(1+math.Abs(x[i])) {
			return false
		}
	}
	return len(x) == len(y) && a.Measured() == b.Measured() && a.Requests == b.Requests && a.Prompt == b.Prompt &&
		a.Generated == b.Generated && a.Skipped == b.Skipped && a.From.Equal(b.From) && a.To.Equal(b.To)
}

func TestNothingIsLost(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	var all []Chunk
	for i := range 500 {
		c := chunk([]string{"", "code", "mail"}[i%3], uint64(i), 40+int64(i%7)*300)
		all = append(all, c)
		add(t, s, c)
	}
	for label, row := range s.Rows() {
		if len(row) > maxChunks {
			t.Errorf("label %q has %d chunks, want at most %d", label, len(row), maxChunks)
		}
		for i, c := range row[:len(row)-1] {
			if c.Measured() < chunkTokens || !c.From.Before(row[i+1].From) {
				t.Errorf("label %q: chunk %d has %d tokens from %v, the next is from %v", label, i, c.Measured(), c.From, row[i+1].From)
			}
		}
	}
	if got := sum(t, Pick(s.Rows(), "")); !near(got, sum(t, all)) {
		t.Error("the chunks do not add up to what was added")
	}
	read, err := Read(filepath.Join(folder, Name))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(sum(t, Pick(read, "code")).Measured(), sum(t, s.Rows()["code"]).Measured()) {
		t.Error("the file has other traffic than the store")
	}
	s.Close()
	if again := open(t, folder); !near(sum(t, Pick(again.Rows(), "")), sum(t, all)) {
		t.Error("traffic was lost when the store was opened again")
	}
}

// A crash takes at most what was being added.
func TestTornEntry(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	add(t, s, chunk("", 1, 600), chunk("", 2, 700))
	s.Close()
	path := filepath.Join(folder, Name)
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, fi.Size()-5); err != nil {
		t.Fatal(err)
	}
	s = open(t, folder)
	if got := sum(t, s.Rows()[""]).Measured(); got != 600 {
		t.Errorf("%d tokens are left, want the 600 of the whole entry", got)
	}
}

// The file does not grow with the traffic.
func TestFileIsBounded(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	const wide = 60
	for i := range 400 {
		c := Chunk{Requests: 1, Delta: plugin.TraceDelta{Layers: wide, Hidden: 8, All: plugin.NewSums(wide), Last: plugin.NewSums(wide), First: plugin.NewSums(wide)}}
		c.Delta.All.Tokens = 600
		for k := range c.Delta.All.Angle {
			c.Delta.All.Angle[k] = float64(i) + 0.1
		}
		add(t, s, c)
	}
	size, err := s.journal.Size()
	if err != nil {
		t.Fatal(err)
	}
	if size > 8<<20 {
		t.Errorf("the file has %d bytes", size)
	}
	if got := sum(t, s.Rows()[""]).Requests; got != 400 {
		t.Errorf("%d requests are counted, want 400", got)
	}
}

func TestDecayKeepsMeans(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	add(t, s, chunk("old", 1, 1001), chunk("new", 2, 600))
	if err := s.Decay("old", 0.25); err != nil {
		t.Fatal(err)
	}
	was, got := chunk("old", 1, 1001).Delta, s.Rows()["old"][0].Delta
	if got.All.Tokens != 250 || got.First.Tokens != 0 {
		t.Errorf("%d and %d tokens are left, want 250 and 0", got.All.Tokens, got.First.Tokens)
	}
	for a := range layers {
		for b := a + 1; b <= layers; b++ {
			i := plugin.Pair(layers, a, b)
			of := func(s plugin.Sums) float64 {
				if b == layers {
					return s.Angle[i] / float64(s.OutTokens)
				}
				return s.Angle[i] / float64(s.Tokens)
			}
			if math.Abs(of(got.All)-of(was.All)) > 1e-12 {
				t.Errorf("pair %d, %d: the mean is %g, was %g", a, b, of(got.All), of(was.All))
			}
		}
	}
	if !near(s.Rows()["new"][0], chunk("new", 2, 600)) {
		t.Error("another label's traffic decayed")
	}
	for _, f := range []float64{0, 1, -1, math.NaN()} {
		if err := s.Decay("", f); plugin.KindOf(err) != plugin.Invalid {
			t.Errorf("decay by %g: %v", f, err)
		}
	}
	if err := s.Reset("old"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reset("older"); plugin.KindOf(err) != plugin.NotFound {
		t.Errorf("reset of a label that is not there: %v", err)
	}
	s.Close()
	if rows := open(t, folder).Rows(); len(rows) != 1 || len(rows["new"]) != 1 {
		t.Errorf("after the reset there is %v", rows)
	}
}

func TestTooManyLabels(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, chunk("", 100, 600)) // no label
	for i := range MaxLabels + 5 {
		add(t, s, chunk(fmt.Sprint("label-", i), uint64(i), 600))
	}
	if n := Labels(s.Rows()); n != MaxLabels {
		t.Errorf("%d labels are kept", n)
	}
	if got := sum(t, Pick(s.Rows(), "")).Requests; got != MaxLabels+6 {
		t.Errorf("%d requests are kept, want %d", got, MaxLabels+6)
	}
}

func TestSumsThatAreNoNumbers(t *testing.T) {
	s := open(t, t.TempDir())
	bad := chunk("", 1, 600)
	bad.Delta.All.Angle[0] = math.NaN()
	add(t, s, bad, chunk("", 2, 600))
	all := sum(t, s.Rows()[""])
	if !all.Delta.Finite() || all.Requests != 2 || len(all.Delta.Faults) != 1 {
		t.Errorf("finite %v, %d requests, faults %v", all.Delta.Finite(), all.Requests, all.Delta.Faults)
	}
}

// Sums that cannot be added to those that are there spoil nothing.
func TestSumsOfOtherLayers(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	other := Chunk{Requests: 1, Delta: plugin.TraceDelta{Layers: 2, Hidden: 8, All: plugin.NewSums(2), Last: plugin.NewSums(2), First: plugin.NewSums(2)}}
	add(t, s, chunk("", 1, 100), other, chunk("", 2, 100))
	s.Close()
	all := sum(t, open(t, folder).Rows()[""])
	if all.Requests != 3 || all.Measured() != 200 || all.Delta.Layers != layers || len(all.Delta.Faults) != 1 {
		t.Errorf("%d requests, %d tokens of %d layers, faults %v", all.Requests, all.Measured(), all.Delta.Layers, all.Delta.Faults)
	}
}

func TestLabels(t *testing.T) {
	for label, ok := range map[string]bool{"code": true, "a.b-c_9": true, "": false, "a b": false, "../x": false, "ü": false} {
		if err := CheckLabel(label); (err == nil) != ok {
			t.Errorf("label %q: %v", label, err)
		}
	}
}
