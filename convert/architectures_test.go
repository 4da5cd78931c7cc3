package convert

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pare/plugin/layers"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestArchitectures lists, for a bare model of 13 layers of every architecture,
// which blocks can go, and compares the list with the one on record. A line that
// changes is a change of what Pare does to somebody's models: make sure that the
// engines agree, then run the test with -update.
func TestArchitectures(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Blocks that can be cut from a model of 13 layers: length, then the first layers.\n")
	for _, name := range slices.Sorted(maps.Keys(architectures)) {
		m, err := Inspect(tiny{arch: name, layers: 13, keys: keys(key("attention.sliding_window", uint32(4)))}.file(t))
		if err != nil {
			fmt.Fprintf(&b, "%-17s%v\n", name, err)
			continue
		}
		fmt.Fprintf(&b, "%-17s%s\n", name, blocks(m))
	}
	const golden = "testdata/architectures.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(b.String(), "\n"); b.String() != string(want) {
		for i, line := range strings.Split(string(want), "\n") {
			if i >= len(got) || got[i] != line {
				t.Fatalf("line %d: %q is no longer on record", i+1, line)
			}
		}
		t.Fatal("there are architectures that are not on record")
	}
}

// block lists the layers a to a+n-1.
func block(a, n int) []int {
	var out []int
	for i := range n {
		out = append(out, a+i)
	}
	return out
}

// blocks lists what can go: "1: 12; 2: 0-11".
func blocks(m Model) string {
	var lines []string
	for n := 1; n < m.Layers; n++ {
		var starts []int
		for a := range m.Layers - n + 1 {
			if m.CheckCut(block(a, n)) == nil {
				starts = append(starts, a)
			}
		}
		if len(starts) == m.Layers-n+1 && n == 1 {
			return "any"
		}
		if starts != nil {
			lines = append(lines, fmt.Sprintf("%d: %s", n, layers.Format(starts)))
		}
	}
	if lines == nil {
		return "none: " + m.CheckCut([]int{1}).(*CutError).Reason
	}
	return strings.Join(lines, "; ")
}

func TestInspectRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		model tiny
		want  string
		is    error
	}{
		{"architecture of another time", tiny{arch: "gptj", layers: 2},
			"inspect model: how gptj models order their layers is not known: this architecture is not known to Pare", ErrUnknownArchitecture},
		{"encoder", tiny{arch: "bert", layers: 2}, "inspect model: bert is an encoder, which makes embeddings: this model is no decoder", ErrNotDecoder},
		{"encoder by key", tiny{arch: "llama", layers: 2, keys: keys(key("attention.causal", false))},
			"inspect model: llama is an encoder: this model is no decoder", ErrNotDecoder},
		{"encoder-decoder", tiny{arch: "t5", layers: 2},
			"inspect model: t5 is an encoder-decoder, whose halves depend on each other: this model is no decoder", ErrNotDecoder},
		{"adapter", tiny{arch: "llama", layers: 2, keys: keys(key("general.type", "adapter"))},
			"inspect model: this is a file of type adapter: cut the model that it belongs to: this model is no decoder", ErrNotDecoder},
		{"no layers", tiny{arch: "llama"}, "inspect model: llama.block_count is missing or not between 1 and 1024: this is no whole model; fetch it again", ErrUnfit},
		{"nothing but prediction", tiny{arch: "glm4moe", layers: 2, keys: keys(key("nextn_predict_layers", uint32(2)))},
			"inspect model: 2 of 2 blocks are said to predict further tokens, which leaves no layer: this is no whole model; fetch it again", ErrUnfit},
		{"array left behind", tiny{arch: "jamba", layers: 4, keys: keys(key("attention.head_count_kv", repeat(6, 0, 1)))},
			"inspect model: jamba.attention.head_count_kv has 6 values for 4 layers: the file is damaged, or was cut by a program that forgot them: this is no whole model; fetch it again", ErrUnfit},
	} {
		_, err := Inspect(c.model.file(t))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
		if !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not %v", c.name, err, c.is)
		}
	}
}
