package convert

import (
	"fmt"
	"slices"

	"pare/plugin/layers"
)

// CutError says why layers cannot be removed and which could be instead.
type CutError struct {
	Remove  []int  // what was asked for
	Reason  string // a clause
	Nearest []int  // the nearest cut that is possible; nil if there is none
}

func (e *CutError) Error() string {
	s := fmt.Sprintf("cannot remove %s: %s", layers.Phrase(e.Remove), e.Reason)
	if len(e.Nearest) > 0 {
		s += fmt.Sprintf("; remove %s instead", layers.Phrase(e.Nearest))
	}
	return s
}

// CheckCut says whether the layers in remove can go, so that every layer that
// remains is still what it was. The order of remove and repetitions do not
// matter. The error is a *CutError.
func (m Model) CheckCut(remove []int) error {
	cut := make([]bool, m.Layers)
	for _, i := range remove {
		if i < 0 || i >= m.Layers {
			return &CutError{Remove: sorted(remove), Reason: m.outside(i)}
		}
		cut[i] = true
	}
	reason := m.refusal(cut)
	if reason == "" {
		return nil
	}
	return &CutError{Remove: sorted(remove), Reason: reason, Nearest: m.nearest(cut)}
}

// outside says what index i is, if it is no layer.
func (m Model) outside(i int) string {
	if i >= m.Layers && i < m.Layers+m.Prediction {
		return fmt.Sprintf("block %d predicts further tokens and follows the layers, which are 0-%d", i, m.Layers-1)
	}
	return fmt.Sprintf("there is no layer %d, the model has layers 0-%d", i, m.Layers-1)
}

// refusal says why the marked layers cannot go, or "" if they can.
func (m Model) refusal(cut []bool) string {
	removed := 0
	first := -1
	for i, gone := range cut {
		if gone {
			if why, ok := m.rules.leave(i); !ok {
				return why
			}
			removed++
			continue
		}
		if why := m.rules.move(i, i-removed); why != "" {
			return why
		}
		if first < 0 {
			first = i
		}
	}
	if removed == 0 {
		return ""
	}
	if first < 0 {
		return "no layer would remain"
	}
	if why := m.rules.begin(first); why != "" {
		return why
	}
	if why := m.end(removed); why != "" {
		return why
	}
	return m.rules.lost(cut)
}

// leave reports whether layer i may go, and if not, why.
func (r rules) leave(i int) (why string, ok bool) {
	if r.refuse != "" {
		return r.refuse, false
	}
	if why, stays := r.stay[i]; stays {
		return fmt.Sprintf("layer %d has to stay: %s", i, why), false
	}
	return "", true
}

// move says why layer i cannot become layer j <= i, or "" if it can.
func (r rules) move(i, j int) string {
	if i == j {
		return ""
	}
	for _, c := range r.cycles {
		if c.sparse && i < r.dense {
			continue
		}
		if c.special(i) != c.special(j) {
			return fmt.Sprintf("every %s layer %s by its place, and layer %d would become layer %d and change its kind", ordinal(c.every), c.what, i, j)
		}
	}
	if min(i, r.images) != min(j, r.images) {
		return fmt.Sprintf("features of images are added after each of the first %d layers, and layer %d would become layer %d", r.images, i, j)
	}
	if r.rescale > 0 && i/r.rescale != j/r.rescale {
		return fmt.Sprintf("the weights of every %d layers are scaled for their place, and layer %d would become layer %d", r.rescale, i, j)
	}
	return ""
}

// begin says why layer i cannot be the first, or "" if it can.
func (r rules) begin(i int) string {
	if r.heads == nil || r.heads[i] == r.heads[0] {
		return ""
	}
	return fmt.Sprintf("llama.cpp takes the width of a head from the first layer, and layer %d has another number of heads than layer 0", i)
}

// end says why so many layers cannot go, whichever they are, or "" if they can.
func (m Model) end(removed int) string {
	after := m.Layers - removed
	if after+m.Prediction < m.rules.floor {
		return fmt.Sprintf("the file's other towers have %d blocks, which Ollama loads only beside as many layers, and %d would remain", m.rules.floor, after)
	}
	if m.rules.count != nil {
		return m.rules.count(m.Layers, after)
	}
	return ""
}

// lost says which kind of layer would be gone altogether, or "". Engines take
// the sizes of their caches from the first layer of each kind.
func (r rules) lost(cut []bool) string {
	last := map[string]int{}
	for i, kind := range r.kinds {
		if j, ok := last[kind]; !ok || cut[j] {
			last[kind] = i
		}
	}
	for i, kind := range r.kinds { // in order, so that the answer is always the same
		if cut[i] && cut[last[kind]] {
			return fmt.Sprintf("no layer like layer %d would remain, and the engines need one of each kind", i)
		}
	}
	return ""
}

// ordinal is 2nd for 2.
func ordinal(n int) string {
	switch suffix := n % 10; {
	case n%100/10 == 1 || suffix == 0 || suffix > 3:
		return fmt.Sprintf("%dth", n)
	default:
		return fmt.Sprintf("%d%s", n, [...]string{"", "st", "nd", "rd"}[suffix])
	}
}

// sorted returns the layers in ascending order, each once.
func sorted(list []int) []int {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}
