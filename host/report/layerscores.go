package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"pare/plugin"
	"pare/plugin/phrase"
)

// barWidth is the length of the longest bar in the table of layers.
const barWidth = 24

// layersSection tells what each single layer is for.
func layersSection(s plugin.Sweep) section {
	t := table{Align: "rrrrrb", Head: []string{"layer", "rise", "KL", "lens loss", "lens agrees", ""}}
	end := barEnd(s.Layers)
	for _, l := range s.Layers {
		t.Rows = append(t.Rows, []string{fmt.Sprint(l.Layer), pm(&l.Rise), number(l.KL.Value), number(l.Lens.Value), percent(l.Agreement.Value), bar(l.Rise.Value, end)})
	}
	legend := "rise: of the log-loss without this layer alone, nats a token; lens: what the model says if it ends before this layer."
	if s.LayersOf != nil {
		legend += fmt.Sprintf(" All on %s, of which the whole model has a log-loss of %s.", phrase.Many(s.LayersOf.Tokens, "token"), number(wholeLoss(s)))
	}
	if clipped(s.Layers, end) {
		legend += fmt.Sprintf(" The bars end at %s; › marks those that go further.", number(end))
	}
	return section{Title: "Each layer alone", Tables: []table{t}, After: []string{legend}, Figure: &figure{
		Caption: "Above, the rise of the log-loss without each layer alone; below, how early the answer is known.",
		draw:    func(w io.Writer, format string) error { return PlotLayers(w, format, s) },
	}}
}

// wholeLoss is the whole model's log-loss on the text that its layers are judged by.
func wholeLoss(s plugin.Sweep) float64 {
	of := s.Before
	if s.LayersOf != nil {
		of = *s.LayersOf
	}
	return math.Log(of.Before.Value)
}

// barEnd is where bars of rises end. The first layer of a model is often worth a
// hundred others, beside which no other would show, so the end is at most four
// times the median.
func barEnd(list []plugin.LayerScore) float64 {
	var rises []float64
	for _, l := range list {
		if v := l.Rise.Value; !math.IsNaN(v) && !math.IsInf(v, 0) {
			rises = append(rises, v)
		}
	}
	if len(rises) == 0 {
		return 0
	}
	slices.Sort(rises)
	longest := rises[len(rises)-1]
	if median := rises[len(rises)/2]; median > 0 {
		longest = min(longest, 4*median)
	}
	return longest
}

func clipped(list []plugin.LayerScore, end float64) bool {
	return slices.ContainsFunc(list, func(l plugin.LayerScore) bool { return l.Rise.Value > end })
}

// bar draws v on a scale of barWidth columns, in half columns.
func bar(v, end float64) string {
	if !(end > 0) || !(v > 0) {
		return ""
	}
	if v > end {
		return strings.Repeat("█", barWidth) + " ›"
	}
	halves := int(2*barWidth*v/end + .5)
	return strings.Repeat("█", halves/2) + strings.Repeat("▌", halves%2)
}
