package gguf_test

import (
	"bytes"
	"fmt"
	"testing"

	"pare/gguf"
	"pare/gguf/gguftest"
)

func TestSelect(t *testing.T) {
	for _, c := range []struct {
		from, want any
		keep       []int
	}{
		{[]uint32{10, 11, 12, 13}, []uint32{10, 13}, []int{0, 3}},
		{[]bool{true, false}, []bool{false, true, false}, []int{1, 0, 1}},
		{[]string{"a", "", "long"}, []string{"long", "a"}, []int{2, 0}},
		{[][]int8{{1}, {}, {2, 3}}, [][]int8{{2, 3}, {}}, []int{2, 1}},
		{[]float64{1}, []float64{}, nil},
	} {
		got, err := value(t, c.from).Select(c.keep)
		if err != nil || !got.Equal(value(t, c.want)) {
			t.Errorf("%v of %v: %v", c.keep, c.from, err)
		}
		if got.Len() != len(c.keep) {
			t.Errorf("%v of %v has %d elements", c.keep, c.from, got.Len())
		}
	}
	if _, err := value(t, []uint8{1, 2}).Select([]int{2}); err == nil {
		t.Error("an element behind the end was selected")
	}
	if _, err := value(t, uint8(1)).Select(nil); err == nil {
		t.Error("elements of a number were selected")
	}
}

// A selection is not only written but also used as it is.
func TestSelectedElements(t *testing.T) {
	v, err := value(t, []string{"a", "b", "c"}).Select([]int{2, 1})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := v.At(0).Str()
	second, _ := v.At(1).Str()
	if v.Elem() != gguf.TypeString || first != "c" || second != "b" {
		t.Errorf("got %v %q %q", v.Elem(), first, second)
	}
}

func TestNestedArrays(t *testing.T) {
	v := value(t, [][][]string{{{"a"}, {}}, {}, {{"b", "c"}}})
	if s, ok := v.At(2).At(0).At(1).Str(); !ok || s != "c" {
		t.Errorf("got %q", s)
	}
	if v.Len() != 3 || v.At(1).Len() != 0 || v.At(0).At(1).Len() != 0 || v.At(0).At(0).At(0).Len() != -1 {
		t.Error("lengths are wrong")
	}
}

func TestAtPanics(t *testing.T) {
	for _, v := range []gguf.Value{{}, gguf.Uint32(1), value(t, []uint32{1}), value(t, []string{})} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("element %d of a %v was returned", max(v.Len(), 0), v.Type())
				}
			}()
			v.At(max(v.Len(), 0))
		}()
	}
}

// A vocabulary must not cost an allocation for each of its tokens.
func TestVocabularyAllocations(t *testing.T) {
	tokens := make([]string, 256_000)
	for i := range tokens {
		tokens[i] = fmt.Sprint("token", i)
	}
	data := gguftest.Builder{KVs: []gguftest.KV{{Key: "tokens", Value: tokens}}}.Bytes()
	var v gguf.Value
	if n := testing.AllocsPerRun(1, func() {
		f, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		v, _ = f.KV("tokens")
	}); n > 200 {
		t.Errorf("reading took %.0f allocations", n)
	}
	// Several times, for the mean is rounded down: the runtime may allocate once meanwhile.
	if n := testing.AllocsPerRun(10, func() {
		for i := range v.Len() {
			if v.At(i).Type() != gguf.TypeString {
				t.Fatal("not a string")
			}
		}
	}); n > 0 {
		t.Errorf("walking took %.0f allocations", n)
	}
	if s, _ := v.At(255_999).Str(); s != "token255999" {
		t.Errorf("the last token is %q", s)
	}
}
