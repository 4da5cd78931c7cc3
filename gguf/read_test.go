package gguf_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pare/gguf"
	"pare/gguf/gguftest"
)

// read reads what b builds.
func read(t testing.TB, b gguftest.Builder) *gguf.File {
	t.Helper()
	data := b.Bytes()
	f, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// value returns what v looks like once it is read from a file.
func value(t testing.TB, v any) gguf.Value {
	t.Helper()
	f := read(t, gguftest.Builder{KVs: []gguftest.KV{{Key: "k", Value: v}}})
	got, ok := f.KV("k")
	if !ok {
		t.Fatal("the key is missing")
	}
	return got
}

func TestValues(t *testing.T) {
	type reading struct {
		value any // nil if it cannot be had
	}
	of := func(v any, ok bool) reading {
		if !ok {
			return reading{}
		}
		return reading{v}
	}
	for _, c := range []struct {
		in                      any
		typ                     gguf.ValueType
		uint, int, float, b, st any
	}{
		{uint8(200), gguf.TypeUint8, uint64(200), int64(200), nil, nil, nil},
		{int8(-2), gguf.TypeInt8, nil, int64(-2), nil, nil, nil},
		{uint16(65535), gguf.TypeUint16, uint64(65535), int64(65535), nil, nil, nil},
		{int16(-300), gguf.TypeInt16, nil, int64(-300), nil, nil, nil},
		{uint32(4e9), gguf.TypeUint32, uint64(4e9), int64(4e9), nil, nil, nil},
		{int32(7), gguf.TypeInt32, uint64(7), int64(7), nil, nil, nil},
		{uint64(math.MaxUint64), gguf.TypeUint64, uint64(math.MaxUint64), nil, nil, nil, nil},
		{int64(math.MinInt64), gguf.TypeInt64, nil, int64(math.MinInt64), nil, nil, nil},
		{float32(0.5), gguf.TypeFloat32, nil, nil, 0.5, nil, nil},
		{1e300, gguf.TypeFloat64, nil, nil, 1e300, nil, nil},
		{true, gguf.TypeBool, nil, nil, nil, true, nil},
		{false, gguf.TypeBool, nil, nil, nil, false, nil},
		{"a\xffb", gguf.TypeString, nil, nil, nil, nil, "a\xffb"},
		{"", gguf.TypeString, nil, nil, nil, nil, ""},
		{[]uint8{1}, gguf.TypeArray, nil, nil, nil, nil, nil},
	} {
		v := value(t, c.in)
		if v.Type() != c.typ {
			t.Errorf("%#v: type %v", c.in, v.Type())
		}
		for _, r := range []struct {
			name string
			got  reading
			want any
		}{
			{"Uint", func() reading { n, ok := v.Uint(); return of(n, ok) }(), c.uint},
			{"Int", func() reading { n, ok := v.Int(); return of(n, ok) }(), c.int},
			{"Float", func() reading { x, ok := v.Float(); return of(x, ok) }(), c.float},
			{"Bool", func() reading { b, ok := v.Bool(); return of(b, ok) }(), c.b},
			{"Str", func() reading { s, ok := v.Str(); return of(s, ok) }(), c.st},
		} {
			if r.got.value != r.want {
				t.Errorf("%v(%#v).%s() is %v, want %v", c.typ, c.in, r.name, r.got.value, r.want)
			}
		}
	}
}

func TestConstructorsMatchTheFormat(t *testing.T) {
	array, err := gguf.Array(gguf.TypeString, gguf.String("a"), gguf.String("bc"))
	if err != nil {
		t.Fatal(err)
	}
	nested, err := gguf.Array(gguf.TypeArray, array, array)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		got  gguf.Value
		want any
	}{
		{gguf.Uint32(70000), uint32(70000)},
		{gguf.Uint64(1 << 40), uint64(1 << 40)},
		{gguf.Int32(-5), int32(-5)},
		{gguf.Float32(1.25), float32(1.25)},
		{gguf.Bool(true), true},
		{gguf.Bool(false), false},
		{gguf.String("héllo"), "héllo"},
		{array, []string{"a", "bc"}},
		{nested, [][]string{{"a", "bc"}, {"a", "bc"}}},
	} {
		if !c.got.Equal(value(t, c.want)) {
			t.Errorf("the value made for %#v differs from the one read", c.want)
		}
	}
	if s, _ := nested.At(1).At(1).Str(); s != "bc" {
		t.Errorf("nested element is %q", s)
	}
	if _, err := gguf.Array(gguf.TypeString, gguf.Uint32(1)); err == nil {
		t.Error("an array of strings took a number")
	}
}

func TestWithUint(t *testing.T) {
	for _, c := range []struct {
		of   any
		n    uint64
		want any // nil: must be refused
	}{
		{uint8(1), 255, uint8(255)},
		{uint8(1), 256, nil},
		{int8(-1), 127, int8(127)},
		{int8(1), 128, nil},
		{uint32(30), 24, uint32(24)},
		{uint32(30), 1 << 32, nil},
		{int32(30), 1 << 31, nil},
		{uint64(0), math.MaxUint64, uint64(math.MaxUint64)},
		{int64(0), 1 << 63, nil},
		{float32(1), 1, nil},
		{"x", 1, nil},
	} {
		got, err := value(t, c.of).WithUint(c.n)
		if c.want == nil {
			if err == nil {
				t.Errorf("%T took %d", c.of, c.n)
			}
			continue
		}
		if err != nil || !got.Equal(value(t, c.want)) {
			t.Errorf("%d in place of %T(%v): %v", c.n, c.of, c.of, err)
		}
	}
}

func TestTensors(t *testing.T) {
	f := read(t, gguftest.Builder{
		Version:   2,
		Alignment: 64,
		KVs:       []gguftest.KV{{Key: "z", Value: "first"}, {Key: "a", Value: "second"}},
		Tensors: []gguftest.Tensor{
			{Name: "w", Shape: []uint64{32, 2}, Type: 2, Bytes: bytes.Repeat([]byte{7}, 36)},
			{Name: "scalar", Bytes: []byte{1, 2, 3, 4}},
			{Name: "empty", Shape: []uint64{0, 3}},
		},
	})
	if f.Version != 2 || f.Alignment != 64 || f.KVs[1].Key != "z" || f.KVs[2].Key != "a" {
		t.Errorf("version %d, alignment %d, keys %v", f.Version, f.Alignment, f.KVs)
	}
	w, ok := f.Tensor("w")
	if !ok || w.Type != gguf.Q4_0 || w.Size != 36 || len(w.Shape) != 2 || w.Shape[0] != 32 {
		t.Errorf("tensor w is %+v", w)
	}
	scalar, _ := f.Tensor("scalar")
	if data, err := io.ReadAll(f.Data(scalar)); err != nil || !bytes.Equal(data, []byte{1, 2, 3, 4}) {
		t.Errorf("data of scalar: %v, %v", data, err)
	}
	if empty, _ := f.Tensor("empty"); empty.Size != 0 {
		t.Errorf("an empty tensor has %d bytes", empty.Size)
	}
	if _, ok := f.Tensor("other"); ok {
		t.Error("there is a tensor nobody wrote")
	}
}

// The sizes are those of ggml's block structs.
func TestTensorTypes(t *testing.T) {
	for typ, want := range map[gguf.TensorType]struct {
		name  string
		bytes uint64 // of 256 elements
	}{
		gguf.F32: {"F32", 1024}, gguf.F16: {"F16", 512}, gguf.BF16: {"BF16", 512}, gguf.F64: {"F64", 2048},
		gguf.I8: {"I8", 256}, gguf.I16: {"I16", 512}, gguf.I32: {"I32", 1024}, gguf.I64: {"I64", 2048},
		gguf.Q4_0: {"Q4_0", 144}, gguf.Q4_1: {"Q4_1", 160}, gguf.Q5_0: {"Q5_0", 176}, gguf.Q5_1: {"Q5_1", 192},
		gguf.Q8_0: {"Q8_0", 272}, gguf.Q8_1: {"Q8_1", 288}, gguf.MXFP4: {"MXFP4", 136}, gguf.OllamaMXFP4: {"MXFP4", 136},
		gguf.Q2_K: {"Q2_K", 84}, gguf.Q3_K: {"Q3_K", 110}, gguf.Q4_K: {"Q4_K", 144}, gguf.Q5_K: {"Q5_K", 176},
		gguf.Q6_K: {"Q6_K", 210}, gguf.Q8_K: {"Q8_K", 292},
		gguf.IQ1_S: {"IQ1_S", 50}, gguf.IQ1_M: {"IQ1_M", 56}, gguf.IQ2_XXS: {"IQ2_XXS", 66}, gguf.IQ2_XS: {"IQ2_XS", 74},
		gguf.IQ2_S: {"IQ2_S", 82}, gguf.IQ3_XXS: {"IQ3_XXS", 98}, gguf.IQ3_S: {"IQ3_S", 110},
		gguf.IQ4_NL: {"IQ4_NL", 144}, gguf.IQ4_XS: {"IQ4_XS", 136}, gguf.TQ1_0: {"TQ1_0", 54}, gguf.TQ2_0: {"TQ2_0", 66},
	} {
		if n, err := typ.Bytes([]uint64{256}); err != nil || n != want.bytes || typ.String() != want.name {
			t.Errorf("type %d: %v, %d bytes, %v; want %v, %d", uint32(typ), typ, n, err, want.name, want.bytes)
		}
	}
}

func TestOpen(t *testing.T) {
	folder := t.TempDir()
	if _, err := gguf.Open(folder); err == nil {
		t.Error("a folder was opened")
	}
	if _, err := gguf.Open(filepath.Join(folder, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	path := filepath.Join(folder, "text.gguf")
	if err := os.WriteFile(path, []byte("a text\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := gguf.Open(path); !errors.Is(err, gguf.ErrNotGGUF) || !strings.Contains(err.Error(), path) {
		t.Errorf("a text: %v", err)
	}
}
