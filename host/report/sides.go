package report

import (
	"cmp"
	"fmt"

	"pare/plugin"
	"pare/plugin/layers"
	"pare/plugin/phrase"
)

// widest is the longest name of a model that a table shows in full.
const widest = 22

// sides is the table of a model before and after, or of one alone: what it is,
// what it is worth, what it takes and how fast it is. e may be nil.
func sides(before plugin.Measured, after *plugin.Measured, e *plugin.Evaluation) table {
	t := table{Align: "lr", Head: []string{"", name(before)}}
	if after != nil {
		t.Align, t.Head = "lrrl", []string{"", name(before), name(*after), "change"}
	}
	s := sheet{table: &t, alone: after == nil}
	s.build(before, cmp.Or(after, &plugin.Measured{}))
	if e != nil {
		s.quality(e)
		s.cost(before, cmp.Or(after, &plugin.Measured{}), e.Speed)
	}
	return t
}

// name is what a side is called: the model, and the layers it was run without. A
// model that was judged and not kept has no name.
func name(m plugin.Measured) string {
	n := clip(cmp.Or(plain(m.Name), "result, not kept"), widest)
	if len(m.Bypass) == 0 {
		return n
	}
	return abridge("without "+layers.Format(m.Bypass), widest)
}

// A sheet is a table of sides in the making.
type sheet struct {
	table *table
	alone bool
}

// row adds a line, unless neither side is known.
func (s *sheet) row(label, before, after, change string) {
	switch known := before != none && before != ""; {
	case s.alone && known:
		s.table.Rows = append(s.table.Rows, []string{label, before})
	case !s.alone && (known || after != none && after != ""):
		s.table.Rows = append(s.table.Rows, []string{label, before, after, change})
	}
}

func (s *sheet) build(a plugin.Measured, b *plugin.Measured) {
	s.row("layers", fmt.Sprint(a.Layers), fmt.Sprint(b.Layers), less(int64(a.Layers), int64(b.Layers)))
	s.row("size", size(a.Bytes), size(b.Bytes), less(a.Bytes, b.Bytes))
	s.row("parameters", parameters(a.Parameters), parameters(b.Parameters), less(int64(a.Parameters), int64(b.Parameters)))
}

func (s *sheet) quality(e *plugin.Evaluation) {
	if len(e.Text) > 0 {
		t := e.Text[0]
		change := ""
		if t.Rise != nil {
			change = spread(ratio(*t.Rise))
		}
		s.row("perplexity", pm(&t.Before), pm(t.After), change)
		s.row("KL divergence", none, pm(t.KL), "nats a token")
		s.row("same next token", none, share(t.Agreement), "")
	}
	if len(e.Tasks) > 0 {
		t := e.Tasks[0]
		s.row("right answers", share(&t.Before), share(t.After), points(t.Change))
	}
}

func (s *sheet) cost(a plugin.Measured, b *plugin.Measured, r *plugin.SpeedRatio) {
	var prompt, generation string
	if r != nil && r.Pairs > 0 {
		prompt, generation = spread(r.Prompt), spread(r.Generation)
	}
	s.row("prompt tokens/s", rate(a.Prompt), rate(b.Prompt), prompt)
	s.row("generated tokens/s", rate(a.Generation), rate(b.Generation), generation)
	f, g := cmp.Or(a.Footprint, &plugin.Footprint{}), cmp.Or(b.Footprint, &plugin.Footprint{})
	s.row("memory", size(f.Resident), size(g.Resident), less(f.Resident, g.Resident))
	s.row("GPU memory", size(f.Device), size(g.Device), less(f.Device, g.Device))
	s.row("KV cache per token", size(f.KVPerToken), size(g.KVPerToken), less(f.KVPerToken, g.KVPerToken))
}

func rate(perSecond float64) string {
	if perSecond <= 0 {
		return none
	}
	return number(perSecond)
}

// legend says what the table of sides was measured on.
func legend(e *plugin.Evaluation) string {
	s := "Intervals (±, to) are of 95%"
	if e.Speed != nil && e.Speed.Pairs > 0 {
		s += fmt.Sprintf("; of the speeds, the lowest to the highest of %s", phrase.Many(int64(e.Speed.Pairs), "pair"))
	}
	s += "."
	if len(e.Text) > 0 {
		s += fmt.Sprintf(" Text: %s in %s.", phrase.Many(e.Text[0].Tokens, "token"), phrase.Many(int64(e.Text[0].Chunks), "chunk"))
	}
	if len(e.Tasks) > 0 {
		s += fmt.Sprintf(" Tasks: %s, of which guessing gets %s.", phrase.Many(int64(e.Tasks[0].Questions), "question"), about(e.Tasks[0].Chance))
	}
	return s
}
