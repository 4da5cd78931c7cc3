package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"pare/plugin"
	"pare/plugin/phrase"
)

// uncut is the stage of a repair that the others are held against.
const uncut = "uncut"

// repairSection tells what each stage of a repair is worth, and how it went.
func repairSection(name string, r plugin.Repaired) section {
	s := section{
		Title: "Repair",
		Text:  []string{"repaired by " + cmp.Or(plain(r.Settings.Method), "the plugin's default") + learntFrom(r.Data)},
		Notes: notes(r.Notes),
	}
	if t := stages(r.Stages); len(t.Rows) > 0 {
		s.Tables = []table{t}
		s.After = []string{"All on the same text, which the repair never saw. Intervals (±) are of 95%; KL: nats a token, from the uncut model."}
	}
	for _, l := range r.Linear {
		s.After = append(s.After, closedForm(l))
	}
	if t := r.Training; t != nil {
		s.After = append(s.After, trained(*t, r.Settings))
		if len(t.Curve) > 0 {
			s.Figure = &figure{
				Caption: "The loss on what is trained on and, where it was measured, on what is not; the ring marks the step that was kept.",
				draw:    func(w io.Writer, format string) error { return PlotTraining(w, format, name, r) },
			}
		}
	}
	if a := r.Adapter; a != nil {
		s.After = append(s.After, fmt.Sprintf("Stored as an adapter of %s beside the model, %s. Its scores, speeds and memory are those of the model with it merged in F16.",
			phrase.Many(int64(a.Tensors), "tensor"), size(a.Bytes)))
	} else if m := r.Merge; m != nil {
		s.After = append(s.After, merged(*m, r.Training != nil))
	}
	return s
}

func learntFrom(data []plugin.CorpusInfo) string {
	var names []string
	for _, c := range data {
		name := clip(plain(c.Name), widest)
		if c.Name == plugin.DataSelf {
			name = "answers of the uncut model"
		}
		names = append(names, fmt.Sprintf("%s (%s)", name, phrase.Many(int64(c.Documents), "document")))
	}
	if len(names) == 0 {
		return ""
	}
	return ", learning from " + strings.Join(names, ", ")
}

// stages is the table of what each stage is worth. The change of the perplexity is
// from the uncut model's, where that was measured.
func stages(list []plugin.StageScore) table {
	t := table{Align: "lrrrl", Head: []string{"", "perplexity", "KL", "same next token", "perplexity, × uncut"}}
	base := 0.0
	for _, s := range list {
		row := []string{clip(plain(s.Stage), widest), pm(&s.Perplexity), pm(&s.KL), share(&s.Agreement), ""}
		switch {
		case s.Stage == uncut:
			base, row[2], row[3] = s.Perplexity.Value, none, none
		case base > 0:
			row[4] = factor(s.Perplexity.Value / base)
		}
		t.Rows = append(t.Rows, row)
	}
	if base == 0 {
		t = t.before(4)
	}
	return t
}

// closedForm words a fit. What it leaves is a share of what the cut alone leaves.
func closedForm(l plugin.LinearFit) string {
	return fmt.Sprintf("Closed form: layer %d makes up for the cut by a linear map, fitted to %s with a ridge of %s; on other text %s of the cut's error is left.",
		l.Layer, phrase.Many(l.Tokens, "token"), number(l.Ridge), percent(l.Error))
}

// trained words a training.
func trained(t plugin.Training, settings plugin.Repair) string {
	s := fmt.Sprintf("Training: %s parameters, %s seen", parameters(uint64(max(0, t.Trained))), phrase.Many(t.Tokens, "token"))
	if d := time.Duration(t.Seconds * float64(time.Second)).Round(time.Second); d > 0 {
		s += " in " + d.String()
	}
	s += fmt.Sprintf(", best after step %d", t.Best)
	if settings.Steps > 0 {
		s += fmt.Sprintf(" of %d", settings.Steps)
	}
	if t.PeakMemory > 0 {
		s += "; peak memory " + size(t.PeakMemory)
	}
	s += "."
	if t.Stopped != "" {
		s += " It was stopped early: " + strings.TrimSuffix(plain(t.Stopped), ".") + "."
	}
	return s
}

// merged words what became of the changes in the file, and what they cost it.
func merged(m plugin.Merge, trained bool) string {
	s := "Merged into " + phrase.Many(int64(m.Tensors), "tensor")
	if trained {
		s += fmt.Sprintf(": %s of the gain in held-out loss is kept", percent(m.Kept))
	}
	if m.Tuned > 0 {
		s += fmt.Sprintf(", after %s that tuned the scales of what was rounded", phrase.Many(int64(m.Tuned), "step"))
	}
	if len(m.Promoted) == 0 {
		return s + "; every tensor keeps its type."
	}
	const most = 3
	named := notes(m.Promoted[:min(most, len(m.Promoted))])
	s += fmt.Sprintf("; %s in a wider type than before: %s", stored(len(m.Promoted)), strings.Join(named, "; "))
	if more := len(m.Promoted) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s + "."
}

func stored(n int) string {
	if n == 1 {
		return "1 is stored"
	}
	return fmt.Sprintf("%d are stored", n)
}
