package corpus

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func numbered(n int) []Document {
	var docs []Document
	for i := range n {
		docs = append(docs, Document{"n", fmt.Sprintf("document %d", i)})
	}
	return docs
}

func TestSplitHoldsOutTheFraction(t *testing.T) {
	for _, tt := range []struct {
		docs     int
		fraction float64
		want     int // scored
	}{
		{0, 0.5, 0}, {1, 0.5, 0}, {2, 0.1, 1}, {2, 0.9, 1}, {10, 0, 1}, {10, -1, 1}, {10, 0.25, 3},
		{100, 0.2, 20}, {10, 1, 9}, {10, math.Inf(1), 9}, {10, math.NaN(), 1},
	} {
		trace, score := Split(numbered(tt.docs), tt.fraction)
		if len(score) != tt.want || len(trace) != tt.docs-tt.want {
			t.Errorf("Split(%d, %v): %d traced and %d scored, want %d scored", tt.docs, tt.fraction, len(trace), len(score), tt.want)
		}
	}
}

func TestSplitDependsOnTheTextsAlone(t *testing.T) {
	docs := numbered(40)
	_, score := Split(docs, 0.3)
	slices.Reverse(docs)
	for i := range docs {
		docs[i].Style = "renamed"
	}
	_, again := Split(docs, 0.3)
	a, b := texts(score), texts(again)
	slices.Reverse(b)
	if !slices.Equal(a, b) {
		t.Errorf("in reverse %v are held out, before %v", b, a)
	}
	if slices.Equal(a, texts(numbered(12))) {
		t.Error("the first documents are held out; the choice should not follow their order")
	}
}

func TestSplitKeepsEqualTextsTogether(t *testing.T) {
	docs := append(numbered(5), numbered(5)...)
	trace, score := Split(docs, 0.5)
	for _, d := range score {
		if slices.Contains(texts(trace), d.Text) {
			t.Errorf("%q is traced and scored", d.Text)
		}
	}
	if len(score) == 0 || len(trace) == 0 {
		t.Errorf("%d traced, %d scored", len(trace), len(score))
	}
	same := []Document{{"a", "one"}, {"b", "one"}}
	if trace, score := Split(same, 0.5); len(trace) != 2 || score != nil {
		t.Errorf("one text twice: %v traced, %v scored", trace, score)
	}
}
