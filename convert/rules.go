package convert

import (
	"fmt"
	"strconv"
	"strings"

	"pare/gguf"
)

// cycle is a kind that layers have by their index alone, in which every layer
// that returns after so many differs from the rest.
type cycle struct {
	every int    // layers from one to the next
	key   string // where the file says so instead; every holds if it does not
	what  string // what the returning layer does: "every 4th layer …"

	first  bool   // the returning layer is the first of each cycle; else it is the last
	sparse bool   // leading dense layers take no part
	when   string // only if this key is more than 0
	unless string // only if this key has no array that says it layer by layer
}

// special reports whether layer i is the one that differs.
func (c cycle) special(i int) bool {
	if c.first {
		return i%c.every == 0
	}
	return (i+1)%c.every == 0
}

// rules are what holds for one file: all that its layers' indices and their
// number decide. A cut is allowed if each layer that stays is, at its new index,
// what it was at its old one.
type rules struct {
	refuse  string // why no layer can go
	cycles  []cycle
	stay    map[int]string // layers that cannot go, and why
	dense   int            // leading layers without experts
	images  int            // leading layers to which features of an image are added
	rescale int            // layers after which the residual stream is halved; 0 if it is not
	kinds   []string       // what the arrays of a hybrid say that each layer is; nil if they are alike
	heads   []int          // head counts that the first of must not change; nil if it may
	floor   int            // layers that there must be for other towers to load
	count   func(before, after int) string
}

// newRules works out what holds for a file of this architecture.
func newRules(md metadata, arch architecture, m Model) rules {
	r := rules{
		refuse:  arch.refuse,
		stay:    map[int]string{},
		dense:   max(md.number("leading_dense_block_count", arch.dense), 0),
		images:  max(md.number("n_deepstack_layers", 0), len(md.numbers("vision.deepstack_visual_indexes"))),
		rescale: max(md.number("rescale_every_n_layers", 0), 0),
		heads:   firstHeads(md, m.Layers),
		floor:   towerFloor(md.f, m.Layers+m.Prediction),
	}
	if md.number("attention.shared_kv_layers", 0) > 0 {
		r.refuse = "its later layers share keys and values with earlier ones"
	}
	for _, c := range arch.cycles {
		if c.key != "" {
			c.every = md.number(c.key, c.every)
		}
		if c.applies(md) {
			r.cycles = append(r.cycles, c)
		}
	}
	if arch.hybrid {
		r.kinds = arrayKinds(md, m.Layers)
	}
	if arch.count != nil {
		r.count = arch.count(md)
	}
	r.keepFirst(md, arch, m)
	r.keepMarked(md, m)
	return r
}

// applies reports whether a file has the cycle at all.
func (c cycle) applies(md metadata) bool {
	if c.every < 2 || c.when != "" && md.number(c.when, 0) <= 0 {
		return false
	}
	v, _ := md.value(c.unless)
	return c.unless == "" || v.Len() < 2
}

// keepFirst keeps layer 0 where the others need it: by architecture, or because
// it has a tensor that no other layer has. Leading dense layers differ in their
// feed-forward, and may go.
func (r *rules) keepFirst(md metadata, arch architecture, m Model) {
	if arch.first != "" {
		r.stay[0] = arch.first
		return
	}
	only := map[string]bool{}
	for _, t := range md.f.Tensors {
		if block, rest, ok := blockTensor(t.Name); ok && block == 0 {
			only[rest] = m.Layers > 1 && !(r.dense > 0 && strings.HasPrefix(rest, "ffn_"))
		}
	}
	for _, t := range md.f.Tensors {
		if block, rest, ok := blockTensor(t.Name); ok && block > 0 {
			only[rest] = false
		}
	}
	for _, t := range md.f.Tensors {
		if _, rest, ok := blockTensor(t.Name); ok && only[rest] {
			r.stay[0] = fmt.Sprintf("it holds %s, which no other layer has", t.Name)
		}
	}
}

// keepMarked keeps the layers between which a skip connection runs, and those
// that predict further tokens though the engine runs them like any other.
func (r *rules) keepMarked(md metadata, m Model) {
	for n := range 4 {
		for i, on := range md.numbers("attention.block_skip_connection." + strconv.Itoa(n)) {
			if on != 0 {
				r.stay[i] = "a skip connection begins or ends there"
			}
		}
	}
	for _, t := range md.f.Tensors {
		if block, rest, ok := blockTensor(t.Name); ok && block < m.Layers && strings.HasPrefix(rest, "nextn.") {
			r.stay[block] = "it predicts further tokens"
		}
	}
}

// arrayKinds tells layers apart by the zeros in per-layer arrays: no heads for
// keys and values means recurrence, no feed-forward means only attention or
// recurrence. It returns nil if all layers are alike.
func arrayKinds(md metadata, layers int) []string {
	kinds := make([]string, layers)
	mixed := false
	for _, key := range []string{"attention.head_count_kv", "feed_forward_length"} {
		values := md.numbers(key)
		if len(values) < layers {
			continue
		}
		for i := range kinds {
			kinds[i] += fmt.Sprint(values[i] == 0)
			mixed = mixed || kinds[i] != kinds[0]
		}
	}
	if !mixed {
		return nil
	}
	return kinds
}

// firstHeads returns the layers' head counts if the width of a head, which
// llama.cpp takes from the first layer, follows from them.
func firstHeads(md metadata, layers int) []int {
	heads := md.numbers("attention.head_count")
	if len(heads) < layers {
		return nil
	}
	_, key := md.value("attention.key_length")
	_, value := md.value("attention.value_length")
	if key && value {
		for i := range heads { // then only whether there are heads at all counts
			heads[i] = min(heads[i], 1)
		}
	}
	return heads
}

// towerFloor is the number of layers that Ollama's engine needs to place the
// tensors of other towers: it takes the first number in a name for a layer's
// index, except in vision towers.
func towerFloor(f *gguf.File, blocks int) int {
	floor := 1
	for _, t := range f.Tensors {
		if _, _, ok := blockTensor(t.Name); ok {
			continue
		}
		if strings.HasPrefix(t.Name, "v.") || strings.HasPrefix(t.Name, "mm.") || strings.HasPrefix(t.Name, "s.") {
			continue
		}
		if n := firstNumber(t.Name); n < blocks {
			floor = max(floor, n+1)
		}
	}
	return floor
}

// firstNumber is the first number in a name; -1 if there is none.
func firstNumber(name string) int {
	fields := strings.FieldsFunc(name, func(c rune) bool { return c < '0' || c > '9' })
	if len(fields) == 0 {
		return -1
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil {
		return -1
	}
	return n
}
