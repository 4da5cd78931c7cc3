package report

import (
	"fmt"
	"io"

	"pare/plugin"
	"pare/plugin/layers"
	"pare/plugin/phrase"
)

// sweepDocument is what a sweep says.
func sweepDocument(s plugin.Sweep) document {
	d := document{Kind: "Sweep", Title: plain(s.Model.Name), Banner: proposal(s), Where: []fact{
		{"job", plain(s.Job)},
		model("model", plugin.Measured{ModelInfo: s.Model}),
	}}
	d.Where = append(append(d.Where, corpora("text", s.Corpora)...), fact{"protocol", plain(s.Protocol)})
	lead := fmt.Sprintf("%s: %s, %s; perplexity %s on %s in %s. No file was written: each row is the model run without these layers.",
		plain(s.Model.Name), phrase.Many(int64(s.Model.Layers), "layer"), size(s.Model.Bytes), pm(&s.Before.Before),
		phrase.Many(s.Before.Tokens, "token"), phrase.Many(int64(s.Before.Chunks), "chunk"))
	list := cuts(s)
	tried := section{Title: "What was tried", Text: []string{lead}, Notes: notes(s.Notes)}
	if len(list) > 0 {
		tried.Tables, tried.After = []table{cutTable(list)}, []string{cutLegend(list)}
		d = d.add(section{Title: "Quality, size and speed", Aside: true, Figure: &figure{
			Caption: "Above, what is lost; below, what is won, by the number of layers removed.",
			draw:    func(w io.Writer, format string) error { return PlotSweep(w, format, s) },
		}})
	}
	d = d.add(tried)
	if t := styleTable(list); len(t.Rows) > 0 {
		d = d.add(section{Title: "KL divergence by style of text", Aside: true, Tables: []table{t}})
	}
	if len(s.Layers) > 0 {
		d = d.add(layersSection(s))
	}
	return d
}

// proposal is the best cut within the tolerance, or that there is none.
func proposal(s plugin.Sweep) *banner {
	switch b := s.Best; {
	case s.Tolerance <= 0:
		return nil
	case b == nil:
		return &banner{Class: "much", Label: "Nothing fits:", Reason: fmt.Sprintf("no cut that was tried raises the perplexity by at most %s.", asked(s.Tolerance))}
	default:
		reason := fmt.Sprintf("%s of %d by %s (size %s, %s)", abridge(layers.Phrase(b.Remove), 60), s.Model.Layers, plain(b.Criterion), size(b.Bytes), less(s.Model.Bytes, b.Bytes))
		if len(b.Text) > 0 && b.Text[0].Rise != nil {
			reason += "; perplexity " + spread(ratio(*b.Text[0].Rise))
		}
		class := map[string]string{plugin.SayKeep: "keep", plugin.SayRepair: "repair", plugin.SayTooMuch: "much"}[b.Verdict.Say]
		return &banner{Class: class, Label: fmt.Sprintf("Best within +%s perplexity:", asked(s.Tolerance)), Reason: reason + "; " + plain(b.Verdict.Say) + "."}
	}
}

// cutTable has a row for each number of layers and criterion.
func cutTable(list []cut) table {
	t := table{Align: "rllrrrrrl", Head: []string{"layers", "criterion", "removed", "size", "perplexity", "KL", "same", "speed", "verdict"}}
	last := -1
	for _, c := range list {
		removed := fmt.Sprintf("%d (%s)", c.Removed, asked(c.Rate))
		if c.Removed == last {
			removed = ""
		}
		last = c.Removed
		t.Rows = append(t.Rows, []string{removed, clip(plain(c.Criterion), 10), removedBy(c), size(c.Bytes),
			"×" + half(c.Ratio), number(c.KL.Median), about(c.Agreement.Median), factor(c.Speed.Median), plain(c.Say)})
	}
	return t
}

// removedBy lists the layers of a cut, and how many other lists seeds chose.
func removedBy(c cut) string {
	if c.Others == 0 {
		return abridge(layers.Format(c.Remove), 14)
	}
	return fmt.Sprintf("%s +%d", abridge(layers.Format(c.Remove), 11), c.Others)
}

func cutLegend(list []cut) string {
	s := "perplexity: after / before, with half of the 95% interval; KL: nats a token; same: share of tokens whose most likely next one stays; speed: of the prompt."
	for _, c := range list {
		if c.Others > 0 {
			return s + " Where halves of the text led to other layers as well (+1: one other set), the mean with half of the range over them."
		}
	}
	return s
}

// styleTable has the KL divergence of each cut by style, as the first seed
// chose. It is empty where all text is of one style.
func styleTable(list []cut) table {
	t := table{Align: "rll", Head: []string{"layers", "criterion", "removed"}}
	if len(list) == 0 || len(list[0].Styles) < 3 {
		return t
	}
	for _, s := range list[0].Styles {
		t.Head, t.Align = append(t.Head, clip(plain(s.Style), widest)), t.Align+"r"
	}
	for _, c := range list {
		row := []string{fmt.Sprint(c.Removed), plain(c.Criterion), abridge(layers.Format(c.Remove), 14)}
		for i := range list[0].Styles {
			cell := none
			if i < len(c.Styles) && c.Styles[i].KL != nil {
				cell = number(c.Styles[i].KL.Value)
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
