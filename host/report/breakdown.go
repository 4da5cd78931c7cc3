package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pare/plugin"
	"pare/plugin/phrase"
)

// byStyle is the table of the styles of text.
func byStyle(scores []plugin.TextScore, alone bool) table {
	t := table{Caption: "By style of text", Align: "lrrr", Head: []string{"style", "chunks", "tokens", "perplexity"}}
	if !alone {
		t.Align += "rlrr"
		t.Head = append(t.Head, "after", "change", "KL", "same token")
	}
	for _, s := range scores {
		row := []string{clip(plain(s.Style), widest), fmt.Sprint(s.Chunks), fixed(float64(s.Tokens), 0), perplexity(s)}
		if alone {
			t.Rows = append(t.Rows, row)
			continue
		}
		change, after, kl, agree := "", none, none, none
		if s.Rise != nil {
			change = factor(ratio(*s.Rise).Median)
		}
		if s.After != nil {
			after = number(s.After.Value)
		}
		if s.KL != nil {
			kl = pm(s.KL)
		}
		if s.Agreement != nil {
			agree = percent(s.Agreement.Value)
		}
		t.Rows = append(t.Rows, append(row, after, change, kl, agree))
	}
	return t
}

// perplexity leaves out the error where a style has too few chunks to know its own.
func perplexity(s plugin.TextScore) string {
	const enough = 5
	if s.Chunks < enough {
		return number(s.Before.Value)
	}
	return pm(&s.Before)
}

// byKind is the table of the kinds of tasks.
func byKind(scores []plugin.TaskScore, alone bool) table {
	t := table{Caption: "By kind of task", Align: "lrrr", Head: []string{"kind", "questions", "guessing", "right"}}
	if !alone {
		t.Align += "rl"
		t.Head = append(t.Head, "after", "change")
	}
	for _, s := range scores {
		row := []string{clip(plain(s.Name), widest), fmt.Sprint(s.Questions), percent(s.Chance), share(&s.Before)}
		if !alone {
			after := none
			if s.After != nil {
				after = percent(s.After.Value)
			}
			row = append(row, after, points(s.Change))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// worst names the three styles and the three kinds that suffered most, where
// there are several to choose from.
func worst(e *plugin.Evaluation) []string {
	const most = 3
	var out []string
	if len(e.Text) > 2 {
		styles := slices.DeleteFunc(slices.Clone(e.Text[1:]), func(t plugin.TextScore) bool { return t.KL == nil })
		slices.SortStableFunc(styles, func(a, b plugin.TextScore) int { return cmp.Compare(b.KL.Value, a.KL.Value) })
		out = append(out, hardest("text (KL)", styles[:min(most, len(styles))], func(t plugin.TextScore) string {
			return plain(t.Style) + " " + fixed(t.KL.Value, 2)
		})...)
	}
	if len(e.Tasks) > 2 {
		kinds := slices.DeleteFunc(slices.Clone(e.Tasks[1:]), func(t plugin.TaskScore) bool { return t.Change == nil || !(t.Change.Value < 0) })
		slices.SortStableFunc(kinds, func(a, b plugin.TaskScore) int { return cmp.Compare(a.Change.Value, b.Change.Value) })
		out = append(out, hardest("tasks (points)", kinds[:min(most, len(kinds))], func(t plugin.TaskScore) string {
			return plain(t.Name) + " " + signed(100*t.Change.Value, 1)
		})...)
	}
	if len(out) == 0 {
		return nil
	}
	return []string{"Hit hardest: " + strings.Join(out, "; ") + "."}
}

func hardest[T any](what string, list []T, say func(T) string) []string {
	if len(list) == 0 {
		return nil
	}
	var names []string
	for _, t := range list {
		names = append(names, say(t))
	}
	return []string{what + " " + strings.Join(names, ", ")}
}

// answers words how the generated answers changed.
func answers(g *plugin.Generation) string {
	s := fmt.Sprintf("Answers to %s, held against those before: chrF %s, BLEU %s of 100; repeated 4-grams %s before, %s after",
		phrase.Many(int64(g.Prompts), "prompt"), fixed(g.ChrF, 1), fixed(g.BLEU, 1), percent(g.RepetitionBefore), percent(g.RepetitionAfter))
	if g.LanguageChanged > 0 {
		s += fmt.Sprintf("; %d in another language", g.LanguageChanged)
	}
	return s + "."
}
