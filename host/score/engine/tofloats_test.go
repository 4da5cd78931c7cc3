package engine

import (
	"slices"
	"testing"

	"pare/plugin"
)

// Types of ggml by number.
const (
	typeF32   = 0
	typeQ8_0  = 8
	typeIQ3_S = 21
	typeI32   = 26
)

func TestToFloats(t *testing.T) {
	block := append([]byte{0, 0x38}, make([]byte, 32)...) // d = 0.5
	block[2], block[33] = 3, 0xfe
	want := make([]float32, 32)
	want[0], want[31] = 1.5, -1
	if got, err := toFloats(typeQ8_0, block); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := toFloats(typeIQ3_S, make([]byte, 2*110)); err != nil || len(got) != 2*256 {
		t.Errorf("a type with a code book: %d numbers, %v", len(got), err)
	}
	for kind, data := range map[uint32][]byte{
		typeF32: block, typeI32: block, 999: block,
		typeQ8_0: block[:33], typeIQ3_S: nil, typeQ8_0 + 1: make([]byte, plugin.FloatsBytes+36),
	} {
		if _, err := toFloats(kind, data); plugin.KindOf(err) != plugin.Invalid {
			t.Errorf("%d bytes of type %d: %v", len(data), kind, err)
		}
	}
}
