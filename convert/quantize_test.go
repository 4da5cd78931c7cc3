package convert

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pare/gguf"
	"pare/gguf/gguftest"
)

// wide is a model of 16 layers with matrices of one row of 256 numbers in F32, as few as
// K types take; ffn_down of layer 1 has rows of 96, and attn_k of layer 0 is in Q4_0.
func wide() gguftest.Builder {
	r := rand.New(rand.NewPCG(1, 1))
	floats := func(n int) (b []byte) {
		for range n {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(r.NormFloat64())))
		}
		return b
	}
	b := tiny{arch: "llama", layers: 16, keys: []gguftest.KV{key("general.file_type", uint32(0))}}.builder()
	b.Tensors = b.Tensors[:0]
	add := func(name string, cols, rows int) {
		b.Tensors = append(b.Tensors, gguftest.Tensor{Name: name, Shape: []uint64{uint64(cols), uint64(rows)}, Bytes: floats(cols * rows)})
	}
	add("token_embd.weight", 256, 4)
	for i := range 16 {
		prefix := fmt.Sprintf("blk.%d", i)
		b.Tensors = append(b.Tensors, gguftest.Tensor{Name: prefix + ".attn_norm.weight", Shape: []uint64{256}, Bytes: floats(256)})
		add(prefix+".attn_q.weight", 256, 1)
		add(prefix+".attn_v.weight", 256, 1)
		if i == 1 {
			add(prefix+".ffn_down.weight", 96, 1)
		} else {
			add(prefix+".ffn_down.weight", 256, 1)
		}
	}
	b.Tensors = append(b.Tensors, gguftest.Tensor{Name: "blk.0.attn_k.weight", Shape: []uint64{32, 1}, Type: uint32(gguf.Q4_0), Bytes: make([]byte, 18)})
	return b
}

func quantizedFile(t *testing.T, src *gguf.File, name string) (*gguf.File, QuantizeResult) {
	t.Helper()
	dst := filepath.Join(t.TempDir(), "quantized.gguf")
	r, err := Quantize(t.Context(), src, dst, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, r
}

func TestQuantizeStoresEachMatrixInItsType(t *testing.T) {
	src := read(t, wide().Bytes())
	f, r := quantizedFile(t, src, "q4_k_m")
	for name, want := range map[string]gguf.TensorType{
		"token_embd.weight":      gguf.Q6_K, // the output matrix, too
		"blk.0.attn_norm.weight": gguf.F32,
		"blk.0.attn_q.weight":    gguf.Q4_K,
		"blk.0.attn_k.weight":    gguf.Q4_0, // was rounded before
		"blk.0.attn_v.weight":    gguf.Q6_K, // of the first eighth
		"blk.2.attn_v.weight":    gguf.Q4_K,
		"blk.4.attn_v.weight":    gguf.Q6_K, // every third
		"blk.15.ffn_down.weight": gguf.Q6_K, // of the last eighth
		"blk.3.ffn_down.weight":  gguf.Q4_K,
		"blk.1.ffn_down.weight":  gguf.Q8_0, // Q6_K, did its blocks fit
	} {
		if got, _ := f.Tensor(name); got.Type != want {
			t.Errorf("%s is in %v, want %v", name, got.Type, want)
		}
	}
	if r.Changed != 1+3*16 || r.BytesBefore != src.Size || r.BytesAfter != f.Size {
		t.Errorf("result %+v of %d bytes", r, f.Size)
	}
	v, _ := f.KV("general.file_type")
	if n, _ := v.Uint(); n != 15 {
		t.Errorf("general.file_type is %v", v)
	}
	if s, _ := text(f, "pare.quantize"); s != "Q4_K_M" {
		t.Errorf("pare.quantize is %q", s)
	}
	// Numbers stay near: of normal ones in 4 bits a few hundredths of the square are lost.
	lost, all := 0.0, 0.0
	for _, name := range []string{"token_embd.weight", "blk.5.attn_q.weight"} {
		was, is := numbersOf(t, src, name), numbersOf(t, f, name)
		for i := range was {
			lost += math.Pow(float64(was[i]-is[i]), 2)
			all += math.Pow(float64(was[i]), 2)
		}
	}
	if !(lost < 0.01*all) {
		t.Errorf("%.2g of the squares are lost", lost/all)
	}
}

func TestQuantizeRefuses(t *testing.T) {
	small := read(t, matrices().Bytes())
	if err := CheckQuantize(small, "q9"); err == nil || !strings.Contains(err.Error(), "give one of F16, Q8_0") {
		t.Errorf("an unknown type: %v", err)
	}
	src := read(t, wide().Bytes())
	f, _ := quantizedFile(t, src, "Q4_K_S")
	dst := filepath.Join(t.TempDir(), "again.gguf")
	if _, err := Quantize(t.Context(), f, dst, "Q8_0", nil); !errors.Is(err, ErrNoSmaller) {
		t.Errorf("to a wider type: %v", err)
	}
	if _, err := os.Stat(dst); err == nil {
		t.Error("a file was left")
	}
}
