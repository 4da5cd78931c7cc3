package tinymodel_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"pare/integration/tinymodel"
)

// tensorsPerLayer and tensorsBeside count what llama.cpp's loader asks of each
// architecture.
var (
	tensorsPerLayer = map[string]int{"llama": 9, "qwen2": 12, "qwen3": 11, "gemma3": 13, "gemma2": 11, "phi3": 6}
	tensorsBeside   = map[string]int{"llama": 3, "qwen2": 3, "qwen3": 2, "gemma3": 2, "gemma2": 2, "phi3": 3}
)

func newModel(t *testing.T, c tinymodel.Config) []byte {
	t.Helper()
	model, err := tinymodel.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func TestTensorCount(t *testing.T) {
	for _, arch := range slices.Concat(tinymodel.Architectures, tinymodel.Llamas) {
		for asked, layers := range map[int]int{0: 8, 1: 1, 5: 5} {
			if asked == 0 && arch == "gemma3" {
				layers = 12
			}
			file := newModel(t, tinymodel.Config{Architecture: arch, Layers: asked})
			want := uint64(layers*tensorsPerLayer[arch] + tensorsBeside[arch])
			if got := binary.LittleEndian.Uint64(file[8:]); got != want {
				t.Errorf("%s, Layers %d: %d tensors, want %d", arch, asked, got, want)
			}
			// A key is followed by its type (4 is uint32) and its value.
			count := append([]byte(arch+".block_count"), 4, 0, 0, 0, byte(layers), 0, 0, 0)
			if !bytes.Contains(file, count) {
				t.Errorf("%s, Layers %d: block_count is not %d", arch, asked, layers)
			}
		}
	}
}

func TestSameConfigSameBytes(t *testing.T) {
	for _, arch := range tinymodel.Architectures {
		c := tinymodel.Config{Architecture: arch, Seed: 1}
		first := newModel(t, c)
		if !bytes.Equal(first, newModel(t, c)) {
			t.Errorf("%s: two files of one seed differ", arch)
		}
		c.Seed = 2
		if bytes.Equal(first, newModel(t, c)) {
			t.Errorf("%s: seeds 1 and 2 give the same file", arch)
		}
	}
}

// TestPrecision reads the last tensor, the output matrix of qwen2 in both precisions:
// half a unit in the last place of F16 is 2^-11 of a number, and 2^-15 where it becomes 0.
func TestPrecision(t *testing.T) {
	const numbers = 1000
	c := tinymodel.Config{Architecture: "qwen2", Layers: 1}
	half := lastNumbers(newModel(t, c), 2*numbers)
	c.Float32 = true
	whole := lastNumbers(newModel(t, c), 4*numbers)
	for i := range numbers {
		want := float64(math.Float32frombits(binary.LittleEndian.Uint32(whole[4*i:])))
		got := fromHalf(binary.LittleEndian.Uint16(half[2*i:]))
		if math.Abs(got-want) > math.Max(math.Abs(want)/2048, 1./16384) {
			t.Fatalf("number %d from the end is %v as F16, %v as F32", numbers-i, got, want)
		}
	}
}

// lastNumbers is the end of the last tensor, whose size is a multiple of the alignment,
// so that nothing follows it.
func lastNumbers(file []byte, n int) []byte { return file[len(file)-n:] }

// fromHalf reads the F16 numbers that New writes: zero and normal ones.
func fromHalf(h uint16) float64 {
	magnitude := math.Ldexp(float64(h&0x3ff|0x400), int(h>>10&31)-25)
	switch {
	case h&0x7fff == 0:
		return 0
	case h>>15 == 1:
		return -magnitude
	}
	return magnitude
}

func TestConfigRefused(t *testing.T) {
	for field, c := range map[string]tinymodel.Config{
		"Architecture": {Architecture: "mamba"},
		"Layers":       {Architecture: "llama", Layers: -1},
		"Positions":    {Architecture: "llama", Positions: "alibi"},
	} {
		if model, err := tinymodel.New(c); model != nil || err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%+v: %d bytes and error %v, want an error about %s", c, len(model), err, field)
		}
	}
}

// TestTokens counts the strings in the vocabularies: each byte can be spelled, and no
// token stands twice, which llama.cpp would not load.
func TestTokens(t *testing.T) {
	for _, arch := range tinymodel.Architectures {
		tokens := stringArray(t, newModel(t, tinymodel.Config{Architecture: arch, Layers: 1}), "tokenizer.ggml.tokens")
		if len(tokens) < 300 || len(tokens) > 512 {
			t.Errorf("%s: %d tokens, want 300 to 512", arch, len(tokens))
		}
		unique := slices.Clone(tokens)
		slices.Sort(unique)
		if unique = slices.Compact(unique); len(unique) != len(tokens) {
			t.Errorf("%s: %d of %d tokens stand twice", arch, len(tokens)-len(unique), len(tokens))
		}
		space, letter, bytesFrom := "Ġthe", "Ā", 0
		if arch == "gemma3" {
			space, letter, bytesFrom = "▁the", "<0x00>", 6
		}
		if !slices.Contains(tokens, space) || tokens[bytesFrom] != letter {
			t.Errorf("%s: token %d is %q, want %q; and %q should be there", arch, bytesFrom, tokens[bytesFrom], letter, space)
		}
	}
}

// stringArray finds a key and reads its value: the type ids of array (9) and string
// (8), a count, and strings with their lengths before them.
func stringArray(t *testing.T, file []byte, key string) []string {
	t.Helper()
	_, rest, found := bytes.Cut(file, append([]byte(key), 9, 0, 0, 0, 8, 0, 0, 0))
	if !found {
		t.Fatalf("no array of strings at %s", key)
	}
	list := make([]string, binary.LittleEndian.Uint64(rest))
	rest = rest[8:]
	for i := range list {
		n := binary.LittleEndian.Uint64(rest)
		list[i] = string(rest[8 : 8+n])
		rest = rest[8+n:]
	}
	return list
}
