package pipeline

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"pare/plugin"
	"pare/plugin/evaluate"
)

// opened is a book in a folder, closed at the end of the test.
func opened(t *testing.T, folder string) *book {
	t.Helper()
	b, err := openBook(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// mustScore scores, and demands that what is told comes to all there is.
func (b *book) mustScore(t *testing.T, h plugin.Host, vs []variant, ps []passage) {
	t.Helper()
	told, want := int64(0), int64(0)
	for _, p := range ps {
		want += int64(len(p.Tokens) * max(1, len(vs)))
	}
	if err := b.score(t.Context(), h, plugin.Model{}, vs, ps, func(n int64) { told += n }); err != nil {
		t.Fatal(err)
	}
	if told != want {
		t.Errorf("%d tokens were told of, want %d", told, want)
	}
	for _, p := range ps {
		if missing := b.missing(p, vs); len(missing) > 0 {
			t.Errorf("passage of %d tokens was not run by %v", len(p.Tokens), missing)
		}
	}
}

// TestScoredOnce scores more and more, in one process and in the next. Only what is
// new is run.
func TestScoredOnce(t *testing.T) {
	h := newBench(t)
	ps := h.some(t, 2*together+3)
	one, two, three := bypassing([]int{1}), bypassing([]int{2, 3}), bypassing([]int{4})
	folder := t.TempDir()
	for _, step := range []struct {
		name  string
		vs    []variant
		ps    []passage
		fresh int
	}{
		{"the model alone", nil, ps[:4], 4},
		{"two variants", []variant{one, two}, ps[:10], 20},
		{"again", []variant{one, two}, ps[:10], 0},
		{"the model, after that", []variant{whole}, ps[:10], 0},
		{"one more variant and more text", []variant{one, three}, ps, 10 + 2*(len(ps)-10)},
		{"the model among others", []variant{whole, one, two, three}, ps, len(ps) - 10},
		{"all again", []variant{two, whole, three, one}, ps, 0},
	} {
		before := len(h.runs)
		opened(t, folder).mustScore(t, h, step.vs, step.ps)
		if fresh := h.onlyOnce(t) - before; fresh != step.fresh {
			t.Errorf("%s: %d runs, want %d", step.name, fresh, step.fresh)
		}
	}
}

// TestScorerDies dies after each score in turn. What was kept is not scored again.
func TestScorerDies(t *testing.T) {
	t.Parallel()
	vs := []variant{bypassing([]int{1}), bypassing([]int{2})}
	const passages = 4
	each := 1 + len(vs)
	for n := 1; n <= passages*each; n++ {
		h := newBench(t)
		ps := h.some(t, passages)
		folder := t.TempDir()
		h.dies = n
		err := opened(t, folder).score(t.Context(), h, plugin.Model{}, vs, ps, func(int64) {})
		if whole := n == passages*each; whole != (err == nil) || !whole && !errors.Is(err, errDied) {
			t.Fatalf("after %d scores: %v", n, err)
		}
		if kept := len(opened(t, folder).All); kept != n/each {
			t.Errorf("after %d scores %d passages are kept, want %d", n, kept, n/each)
		}
		h.dies = 0
		opened(t, folder).mustScore(t, h, vs, ps)
		if got := h.onlyOnce(t); got != passages*len(vs) {
			t.Errorf("after %d scores: %d runs, want %d", n, got, passages*len(vs))
		}
	}
}

// TestDamagedScores flips a byte in each entry. That passage is scored again, and no
// other.
func TestDamagedScores(t *testing.T) {
	h := newBench(t)
	ps := h.some(t, 4)
	vs := []variant{bypassing([]int{1}), bypassing([]int{2})}
	folder := t.TempDir()
	path := filepath.Join(folder, bookForm.Name)
	var ends []int
	for i := range ps {
		opened(t, folder).mustScore(t, h, vs, ps[i:i+1])
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(info.Size()))
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, end := range ends {
		bad := append([]byte(nil), good...)
		bad[end-3] ^= 0xff
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		clear(h.runs)
		opened(t, folder).mustScore(t, h, vs, ps)
		if h.onlyOnce(t) != 2 || h.runs[run{h.text(ps[i].Tokens), 1, "1"}] != 1 {
			t.Errorf("entry %d damaged: ran %v", i, h.runs)
		}
	}
}

// TestChunks pairs what the model and a variant made of the same passages.
func TestChunks(t *testing.T) {
	h := newBench(t)
	ps := h.some(t, 3)
	v := bypassing([]int{6})
	b := opened(t, t.TempDir())
	b.mustScore(t, h, []variant{v}, ps)
	for i, c := range b.chunks(ps, v) {
		want := int64(len(ps[i].Tokens) - 1)
		if c.Style != "prose" || c.Before.Tokens != want || c.After.Tokens != want || !c.After.Compared {
			t.Errorf("chunk %d: %+v, %+v", i, c, c.After)
		}
		if lost := (c.After.NLL - c.Before.NLL) / float64(want); math.Abs(lost-rise[6]) > 0.1*rise[6] {
			t.Errorf("chunk %d lost %g nats a token without layer 6, want about %g", i, lost, rise[6])
		}
	}
	for i, c := range b.chunks(ps, whole) {
		if c.After != nil || c.Before.NLL <= 0 {
			t.Errorf("chunk %d of the model alone: %+v", i, c)
		}
	}
	if e := evaluate.Loss(b.chunks(ps, v)); e.Value < 2 {
		t.Errorf("loss %+v", e)
	}
}
