package profile

import (
	"fmt"
	"slices"
	"strings"

	"pare/plugin/layers"
)

// A criterion is a rule that gives a set of layers a score; the lowest wins.
// The score is the sum of the means of its terms, or, where there are none, of
// the position of the set. A criterion that runs the model gets its scores from
// package search; its terms only rank what is to be run.
type criterion struct {
	name     string
	terms    func(remove []int) []term
	position func(layers int, remove []int) float64
	free     bool // its sets need not be contiguous
	runs     bool // it compares sets by running the model without them
}

// A term is one measured mean: the angular distance of x_a and x_b, or, where
// influence is set, 1 - cos(x_a, x_b).
type term struct {
	a, b      int
	influence bool
}

// criteria are all there are, the default first.
var criteria = []criterion{
	{name: "auto", terms: angular, runs: true},
	{name: "angular", terms: angular},
	{name: "cumulative", terms: cumulative},
	{name: "influence", terms: influence, free: true},
	{name: "deepest", position: deepest},
	{name: "loss", runs: true},
	{name: "greedy", free: true, runs: true},
}

// Criteria lists the names accepted in plugin.Selection.Criterion, the default
// first.
func Criteria() []string {
	names := make([]string, len(criteria))
	for i, c := range criteria {
		names[i] = c.name
	}
	return names
}

// NeedsScore reports whether a criterion compares sets of layers by running the
// model without them, which Select cannot do. The empty name is the default's.
func NeedsScore(name string) bool {
	by, err := named(name)
	return err == nil && by.runs
}

func named(name string) (criterion, error) {
	if name == "" {
		return criteria[0], nil
	}
	i := slices.IndexFunc(criteria, func(c criterion) bool { return c.name == name })
	if i < 0 {
		return criterion{}, &SelectionError{"criterion", fmt.Sprintf("%q is unknown: use one of %s",
			name, strings.Join(Criteria(), ", "))}
	}
	return criteria[i], nil
}

// angular scores the block (a, n) by D[a][a+n]: how far the stream turns
// between the places that removal joins. Gromov et al., "The Unreasonable
// Ineffectiveness of the Deeper Layers", arXiv 2403.17887. A set of several
// blocks, which only an explicit request can name, scores their sum.
func angular(remove []int) []term {
	var terms []term
	for _, r := range layers.Runs(remove) {
		terms = append(terms, term{a: r.First, b: r.Last + 1})
	}
	return terms
}

// cumulative scores a set by Σ D[l][l+1] over its layers: the distance travelled
// layer by layer, where angular measures the distance covered. It is the variant
// told by a technical review of the same paper.
func cumulative(remove []int) []term {
	terms := make([]term, len(remove))
	for i, l := range remove {
		terms[i] = term{a: l, b: l + 1}
	}
	return terms
}

// influence scores a set by Σ (1 - mean cos(x_l, x_{l+1})) over its layers, and
// picks the n lowest wherever they are. Men et al., "ShortGPT", arXiv 2403.03853.
func influence(remove []int) []term {
	terms := cumulative(remove)
	for i := range terms {
		terms[i].influence = true
	}
	return terms
}

// deepest scores a set by the number of layers kept above its lowest: the block
// (L-1-n, n), which leaves only the last layer above, scores 1. It needs no data.
// The simple rule of arXiv 2403.17887.
func deepest(layers int, remove []int) float64 {
	return float64(layers - remove[0] - len(remove))
}
