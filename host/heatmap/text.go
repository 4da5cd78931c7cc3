package heatmap

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"pare/plugin"
	"pare/plugin/layers"
	"pare/plugin/phrase"
)

// wide is the length of the longest bar in the table.
const wide = 28

// Text writes the profile as a table, one row a layer, with the layers that the
// plan removes marked by an asterisk. plan may be nil; a plan made from the
// last tokens shows theirs. Lines are at most 79 columns unless a name in them
// is longer.
func Text(w io.Writer, p plugin.Profile, plan *plugin.Plan) error {
	tokens := "all"
	if plan != nil {
		tokens = plan.TokensUsed
	}
	m, err := means(p, tokens)
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	remove, err := removed(p, plan)
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	b := bufio.NewWriter(w)
	header(b, p, m, tokens, plan)
	longest := 0.0
	for l := range p.Layers {
		longest = max(longest, m.Distance[l][l+1])
	}
	fmt.Fprintf(b, "\n  %5s %9s %10s %8s %10s\n", "LAYER", "DISTANCE", "INFLUENCE", "STEP", "NORM")
	for l := range p.Layers {
		mark := ' '
		if slices.Contains(remove, l) {
			mark = '*'
		}
		if l == p.Layers-1 && m.OutTokens == 0 {
			fmt.Fprintf(b, "%c %5d %9s %10s %8s %10.2f\n", mark, l, "-", "-", "-", m.Norm[l])
			continue
		}
		d := m.Distance[l][l+1]
		fmt.Fprintf(b, "%c %5d %9.4f %10.4f %8.3f %10.2f  %s\n", mark, l, d, m.Influence[l], m.Step[l], m.Norm[l], bar(d, longest))
	}
	if m.OutTokens > 0 {
		fmt.Fprintf(b, "  %5s %9s %10s %8s %10.2f\n", "out", "", "", "", m.Norm[p.Layers])
	}
	return b.Flush()
}

// header says what was measured, on which text, and on what scale.
func header(w io.Writer, p plugin.Profile, m plugin.Means, tokens string, plan *plugin.Plan) {
	fmt.Fprintf(w, "model     %s (%s, %d layers, width %d)\n", short(p.Model), plain(pick(p.Architecture, "unknown architecture")), p.Layers, p.Hidden)
	fmt.Fprintf(w, "tokens    %s in %s: %s\n", phrase.Many(m.Tokens, "token"), phrase.Many(int64(p.Chunks), "chunk"), whose(tokens))
	for _, c := range p.Corpora {
		if c.From != nil && c.To != nil {
			const minute = "2006-01-02 15:04"
			fmt.Fprintf(w, "traffic   %s, %s, %s to %s UTC\n", plain(c.Name), phrase.Many(int64(c.Documents), "request"), c.From.UTC().Format(minute), c.To.UTC().Format(minute))
			continue
		}
		fmt.Fprintf(w, "corpus    %s, %s, %s\n", plain(c.Name), phrase.Many(int64(c.Documents), "document"), short(c.Digest))
	}
	for _, f := range p.Faults {
		fate := "not traced:"
		if f.Counted {
			fate = "traced, but"
		}
		fmt.Fprintf(w, "fault     %s %s %s\n", phrase.Many(f.Graphs, "graph"), fate, plain(f.Reason))
	}
	if plan != nil && len(plan.Remove) > 0 {
		c := plan.Chosen
		fmt.Fprintf(w, "plan      * %s of %d by %s", layers.Phrase(plan.Remove), p.Layers, plan.Criterion)
		if c.Score != 0 {
			fmt.Fprintf(w, ": %s", score(plan))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "scale     DISTANCE of the layer's input to the next one's: angular distance/π;")
	fmt.Fprintln(w, "          INFLUENCE: 1 - cos; STEP: length of the change over NORM, the input's")
}

// bar draws v against the longest, in half columns.
func bar(v, longest float64) string {
	if !(longest > 0) || !(v > 0) {
		return ""
	}
	halves := int(2*wide*v/longest + .5)
	return strings.Repeat("█", halves/2) + strings.Repeat("▌", halves%2)
}
