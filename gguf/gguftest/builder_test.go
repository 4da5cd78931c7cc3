package gguftest_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"pare/gguf/gguftest"
)

// expectHex compares against bytes written out by hand from the format's
// description; spaces and line ends in want are for the eye only.
func expectHex(t *testing.T, b gguftest.Builder, want string) {
	t.Helper()
	got := hex.EncodeToString(b.Bytes())
	if want = strings.Join(strings.Fields(want), ""); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEmptyFile(t *testing.T) {
	expectHex(t, gguftest.Builder{}, `
		47475546 03000000 0000000000000000 0000000000000000
		0000000000000000`)
}

func TestFileWithTensors(t *testing.T) {
	b := gguftest.Builder{
		Alignment: 8,
		Tensors: []gguftest.Tensor{
			{Name: "a", Shape: []uint64{1}, Bytes: []byte{1, 2, 3, 4}},
			{Name: "b", Shape: []uint64{2, 1}, Type: 1, Bytes: []byte{5, 6, 7, 8}},
		},
		Padding:  0xee,
		Trailing: []byte{9},
	}
	expectHex(t, b, `
		47475546 03000000 0200000000000000 0100000000000000
		1100000000000000 67656e6572616c2e616c69676e6d656e74 04000000 08000000
		0100000000000000 61 01000000 0100000000000000 00000000 0000000000000000
		0100000000000000 62 02000000 0200000000000000 0100000000000000 01000000 0800000000000000
		eeeeeeeeee
		01020304 eeeeeeee 05060708 eeeeeeee 09`)
	if got := b.DataOffset(); got != 136 {
		t.Errorf("data begins at %d, want 136", got)
	}
}

func TestValueTypes(t *testing.T) {
	for name, c := range map[string]struct {
		value any
		want  string // type id and payload
	}{
		"uint8":   {uint8(200), "00000000 c8"},
		"int8":    {int8(-2), "01000000 fe"},
		"uint16":  {uint16(258), "02000000 0201"},
		"int16":   {int16(-2), "03000000 feff"},
		"uint32":  {uint32(258), "04000000 02010000"},
		"int32":   {int32(-2), "05000000 feffffff"},
		"float32": {float32(1), "06000000 0000803f"},
		"bool":    {true, "07000000 01"},
		"string":  {"hi", "08000000 0200000000000000 6869"},
		"uint64":  {uint64(258), "0a000000 0201000000000000"},
		"int64":   {int64(-2), "0b000000 feffffffffffffff"},
		"float64": {1.0, "0c000000 000000000000f03f"},
		"strings": {[]string{"a"}, "09000000 08000000 0100000000000000 0100000000000000 61"},
		"empty":   {[]bool{}, "09000000 07000000 0000000000000000"},
		"nested": {[][]int8{{1}, {}}, `09000000 09000000 0200000000000000
			01000000 0100000000000000 01  01000000 0000000000000000`},
		"raw": {gguftest.Raw{Type: 99, Bytes: []byte{7}}, "63000000 07"},
	} {
		t.Run(name, func(t *testing.T) {
			b := gguftest.Builder{Alignment: 1, KVs: []gguftest.KV{
				{Key: "general.alignment", Value: uint32(1)}, {Key: "k", Value: c.value},
			}}
			expectHex(t, b, `47475546 03000000 0000000000000000 0200000000000000
				1100000000000000 67656e6572616c2e616c69676e6d656e74 04000000 01000000
				0100000000000000 6b`+c.want)
		})
	}
}

func TestDamage(t *testing.T) {
	expectHex(t, gguftest.Builder{
		Magic: "GGML", Version: 2, BigEndian: true,
		TensorCount: new(uint64(1 << 40)), KVCount: new(uint64(7)),
		Tensors: []gguftest.Tensor{{Name: "a", Dims: new(uint32(5)), Offset: new(uint64(3)), Bytes: []byte{1}}},
		Data:    []byte{0xda},
	}, `47474d4c 00000002 0000010000000000 0000000000000007
		0000000000000001 61 00000005 00000000 0000000000000003
		000000000000000000000000000000 da`)
}
