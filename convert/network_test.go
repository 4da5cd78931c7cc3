package convert_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pare/convert"
	"pare/gguf"
	"pare/integration/tinymodel"
)

func read(t *testing.T, c tinymodel.Config) *gguf.File {
	t.Helper()
	model, err := tinymodel.New(c)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(bytes.NewReader(model), int64(len(model)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func networkOf(t *testing.T, f *gguf.File) convert.Network {
	t.Helper()
	n, err := convert.NetworkOf(f)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNetwork reads what sets gemma3 apart: windows, two ways of telling positions,
// scales, and an output matrix that is the embedding.
func TestNetwork(t *testing.T) {
	n := networkOf(t, read(t, tinymodel.Config{Architecture: "gemma3", Positions: "linear"}))
	if n.Hidden != 64 || n.HeadSize != 16 || len(n.Layers) != 12 || n.Output != "token_embd.weight" || !n.GELU || n.EmbeddingScale != 8 || n.AttentionScale != 0.25 {
		t.Errorf("it is %+v", n)
	}
	if local := (convert.Layer{Heads: 4, KVHeads: 2, FeedForward: 128, Window: 64, Rotation: 1}); n.Layers[0] != local {
		t.Errorf("layer 0 is %+v, want %+v", n.Layers[0], local)
	}
	if global := (convert.Layer{Heads: 4, KVHeads: 2, FeedForward: 128}); n.Layers[5] != global {
		t.Errorf("layer 5 is %+v, want %+v", n.Layers[5], global)
	}
	// The second of 8 pairs: base^(-1/8), and a quarter of that where positions are stretched.
	for i, want := range []float64{math.Pow(1e6, -1./8) / 4, math.Pow(1e4, -1./8)} {
		if got := n.Rotations[i].Frequencies[1]; math.Abs(got-want) > 1e-9 {
			t.Errorf("rotation %d has frequency %g, want %g", i, got, want)
		}
	}
}

// TestYaRNStretchesSlowPairsOnly: of 8 pairs over 512 tokens the first turns 81 times and
// keeps its pace, the last does not turn once and loses three quarters of it.
func TestYaRNStretchesSlowPairsOnly(t *testing.T) {
	plain := networkOf(t, read(t, tinymodel.Config{Architecture: "qwen2"})).Rotations[0]
	yarn := networkOf(t, read(t, tinymodel.Config{Architecture: "qwen2", Positions: "yarn"})).Rotations[0]
	if yarn.Frequencies[0] != plain.Frequencies[0] || yarn.Frequencies[7] != plain.Frequencies[7]/4 {
		t.Errorf("frequencies are %g, without YaRN %g", yarn.Frequencies, plain.Frequencies)
	}
	if want := 1 + 0.1*math.Log(4); math.Abs(yarn.Scale-want) > 1e-6 || plain.Scale != 1 {
		t.Errorf("scale is %g, want %g", yarn.Scale, want)
	}
}

// TestNetworkOfACut: each layer that stays computes what it computed before.
func TestNetworkOfACut(t *testing.T) {
	f := read(t, tinymodel.Config{Architecture: "gemma3"})
	whole := networkOf(t, f)
	path := filepath.Join(t.TempDir(), "cut.gguf")
	if _, err := convert.Cut(context.Background(), f, path, convert.CutConfig{Remove: []int{0, 1, 2, 3, 4, 5}, Provenance: convert.Provenance{Parent: "sha256:" + strings.Repeat("0", 64)}}, nil); err != nil {
		t.Fatal(err)
	}
	small, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	cut := networkOf(t, small)
	whole.Layers = whole.Layers[6:]
	if !reflect.DeepEqual(cut, whole) {
		t.Errorf("cut: %+v\nthe same layers before: %+v", cut, whole)
	}
}

// TestNetworkRefused: what a graph would get wrong is said to be unknown.
func TestNetworkRefused(t *testing.T) {
	for name, c := range map[string]struct {
		architecture string
		damage       func(l *gguf.Layout)
		want         string
		err          error
	}{
		"architecture": {"olmo3", nil, "olmo3", convert.ErrNoNetwork},
		"experts": {"llama", func(l *gguf.Layout) {
			l.KVs = append(l.KVs, gguf.KV{Key: "llama.expert_count", Value: gguf.Uint32(8)})
		}, "experts", convert.ErrNoNetwork},
		"tensor that no plain llama has": {"llama", func(l *gguf.Layout) {
			rename(l, "blk.1.attn_q.weight", "blk.1.attn_q_a.weight")
		}, "attn_q", convert.ErrNoNetwork},
		"norm beyond those known": {"qwen2", func(l *gguf.Layout) {
			rename(l, "blk.0.attn_q.bias", "blk.0.attn_q_norm.bias")
		}, "attn_q_norm.bias", convert.ErrNoNetwork},
		"scaling": {"qwen2", func(l *gguf.Layout) {
			l.KVs = append(l.KVs, gguf.KV{Key: "qwen2.rope.scaling.type", Value: gguf.String("su")})
		}, `"su"`, convert.ErrNoNetwork},
		"base": {"llama", func(l *gguf.Layout) {
			for i, kv := range l.KVs {
				if kv.Key == "llama.rope.freq_base" {
					l.KVs[i].Value = gguf.Float32(0)
				}
			}
		}, "freq_base", convert.ErrUnfit},
		"heads": {"qwen3", func(l *gguf.Layout) {
			l.KVs = append(l.KVs, gguf.KV{Key: "qwen3.rope.dimension_count", Value: gguf.Uint32(17)})
		}, "17", convert.ErrNoNetwork},
		"no embedding": {"qwen3", func(l *gguf.Layout) {
			rename(l, "token_embd.weight", "per_layer_token_embd.weight")
		}, "token_embd", convert.ErrUnfit},
	} {
		t.Run(name, func(t *testing.T) {
			f := read(t, tinymodel.Config{Architecture: c.architecture, Layers: 2})
			if c.damage != nil {
				l := f.Layout()
				c.damage(&l)
				path := filepath.Join(t.TempDir(), "damaged.gguf")
				if _, err := gguf.Write(t.Context(), path, l, nil); err != nil {
					t.Fatal(err)
				}
				var err error
				if f, err = gguf.Open(path); err != nil {
					t.Fatal(err)
				}
				defer f.Close()
			}
			if _, err := convert.NetworkOf(f); !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error about %s that is %q", err, c.want, c.err)
			}
		})
	}
}

func rename(l *gguf.Layout, from, to string) {
	for i := range l.Tensors {
		if l.Tensors[i].Name == from {
			l.Tensors[i].Name = to
		}
	}
}
