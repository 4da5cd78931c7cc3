package report

import (
	"cmp"
	"fmt"

	"pare/plugin"
	"pare/plugin/phrase"
)

// evaluationDocument is what an evaluation says by itself.
func evaluationDocument(e plugin.Evaluation) document {
	d := document{Kind: "Evaluation", Title: plain(e.Before.Name), Banner: verdict(e.Verdict), Where: provenance(e)}
	switch a := e.After; {
	case a != nil && len(a.Bypass) > 0:
		d.Title += " " + name(*a)
	case a != nil:
		d.Title += " → " + plain(a.Name)
	}
	d.Sections = append(d.Sections, measured("Before and after", e.Before, e.After, &e))
	if e.After == nil {
		d.Sections[0].Title = "Measured"
	}
	return d.add(details(&e)...)
}

func (d document) add(more ...section) document {
	d.Sections = append(d.Sections, more...)
	return d
}

// measured is the section with the table of both sides.
func measured(title string, before plugin.Measured, after *plugin.Measured, e *plugin.Evaluation) section {
	s := section{Title: title, Tables: []table{sides(before, after, e)}}
	if e == nil {
		return s
	}
	s.After = append(s.After, legend(e))
	if after != nil {
		s.After = append(s.After, worst(e)...)
	}
	s.Notes = notes(e.Notes)
	return s
}

// details are the tables by style and kind, without the rows over all that the
// table of sides has, and the answers side by side.
func details(e *plugin.Evaluation) []section {
	alone := e.After == nil
	var out []section
	s := section{Title: "By style and kind"}
	if len(e.Text) > 1 {
		s.Tables = append(s.Tables, byStyle(e.Text[1:], alone))
	}
	if len(e.Tasks) > 1 {
		s.Tables = append(s.Tables, byKind(e.Tasks[1:], alone))
	}
	if len(s.Tables) > 0 {
		out = append(out, s)
	}
	if e.Generation == nil {
		return out
	}
	s = section{Title: "Answers", Text: []string{answers(e.Generation)}, Speakers: [2]string{name(e.Before), name(*cmp.Or(e.After, &e.Before))}}
	for _, sample := range e.Generation.Samples {
		s.Samples = append(s.Samples, plugin.Sample{
			Prompt: printable(sample.Prompt), Before: printable(sample.Before), After: printable(sample.After),
		})
	}
	return append(out, s)
}

// provenance says what was held against what, on which text, and by which rule.
func provenance(e plugin.Evaluation) []fact {
	facts := []fact{model("model", e.Before)}
	if e.After != nil {
		facts = append(facts, model("held against it", *e.After))
	}
	facts = append(facts, fact{"level", cmp.Or(plain(e.Level), plugin.LevelQuick)})
	facts = append(facts, corpora("text", e.Corpora)...)
	facts = append(facts, fact{"protocol", plain(e.Protocol)})
	if e.Verdict != nil {
		facts = append(facts, thresholds(e.Verdict.Thresholds))
	}
	return facts
}

func model(what string, m plugin.Measured) fact {
	n := plain(m.Name)
	if len(m.Bypass) > 0 {
		n += ", " + name(m)
	}
	return fact{what, n + ", " + cmp.Or(plain(m.Digest), "not a file")}
}

// corpora names texts by what they were used for.
func corpora(use string, list []plugin.CorpusInfo) []fact {
	var facts []fact
	for _, c := range list {
		facts = append(facts, fact{use, fmt.Sprintf("%s, %s, %s", plain(c.Name), phrase.Many(int64(c.Documents), "document"), plain(c.Digest))})
	}
	return facts
}

func thresholds(t plugin.Thresholds) fact {
	return fact{"thresholds", fmt.Sprintf("keep up to KL %s and %s of the right answers lost; repair up to KL %s and %s of those above chance lost",
		number(t.KeepKL), asked(t.KeepLoss), number(t.RepairKL), asked(t.RepairLoss))}
}
