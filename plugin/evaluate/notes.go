package evaluate

import (
	"fmt"

	"pare/plugin"
	"pare/plugin/phrase"
)

// What it takes to trust an evaluation without a warning.
const (
	enoughChunks    = 10
	enoughQuestions = 100
	wide            = 0.25 // half an interval of the KL, as a share of the KL
	loop            = 0.1  // rise of the share of repeated 4-grams
	restless        = 2    // highest ratio of speeds over the lowest
)

// Notes says what a person should know before trusting an evaluation.
func Notes(e *plugin.Evaluation) []string {
	var notes []string
	if len(e.Text) > 0 {
		keep := Defaults.KeepKL
		if e.Verdict != nil {
			keep = e.Verdict.Thresholds.KeepKL
		}
		notes = append(notes, textNotes(e.Text[0], keep)...)
	}
	if len(e.Tasks) > 0 {
		notes = append(notes, taskNotes(e.Tasks[0])...)
	}
	if e.Generation != nil {
		notes = append(notes, answerNotes(e.Generation)...)
	}
	if e.Speed != nil {
		notes = append(notes, speedNotes(e.Speed)...)
	}
	return notes
}

// TextNotes is Notes where only text was scored, given the score over all of
// it.
func TextNotes(s plugin.TextScore) []string { return textNotes(s, Defaults.KeepKL) }

// textNotes are the notes where a KL up to keep is small.
func textNotes(s plugin.TextScore, keep float64) []string {
	var notes []string
	switch {
	case s.Chunks == 1:
		notes = append(notes, "one chunk of text: no interval can be given, and another text may say otherwise")
	case s.Chunks < enoughChunks:
		notes = append(notes, fmt.Sprintf("little text: %s in %s; the intervals are uncertain themselves",
			phrase.Many(s.Tokens, "token"), phrase.Many(int64(s.Chunks), "chunk")))
	}
	if s.KL == nil {
		return notes
	}
	if k := s.KL; k.High-k.Low > 2*wide*k.Value && k.High > keep {
		notes = append(notes, fmt.Sprintf("the KL is only known to be between %.3g and %.3g: score more text", k.Low, k.High))
	}
	return append(notes, adaptation(s, keep)...)
}

// adaptation warns of a model that was trained to the kind of text it is scored
// on. On text that the original predicts as well as what it writes itself, the
// rise of the log-loss is the KL divergence, Σ p₀ ln(p₀/p). After a cut or a
// distillation the two are close; a rise of less than half the KL was bought
// otherwise.
func adaptation(s plugin.TextScore, keep float64) []string {
	if s.Rise == nil || s.KL.Value <= keep || s.Rise.High >= s.KL.Low/2 {
		return nil
	}
	how := "hardly rose"
	if s.Rise.High < 0 {
		how = "fell"
	}
	return []string{fmt.Sprintf("perplexity %s, from %.4g to %.4g, and yet the KL is %.3g: the model took to this kind of text more than "+
		"it got back what it knew; go by KL, agreement and tasks", how, s.Before.Value, s.After.Value, s.KL.Value)}
}

func taskNotes(s plugin.TaskScore) []string {
	var notes []string
	if !aboveChance(s) {
		notes = append(notes, fmt.Sprintf("the original answers %s of the questions right and guessing gets %s: they cannot show what was lost",
			percent(s.Before.Value), percent(s.Chance)))
	}
	if s.Questions < enoughQuestions {
		notes = append(notes, fmt.Sprintf("few questions: with %d the share of right answers is known to within about %.0f points",
			s.Questions, 50*(s.Before.High-s.Before.Low)))
	}
	return notes
}

func answerNotes(g *plugin.Generation) []string {
	var notes []string
	if g.RepetitionAfter > g.RepetitionBefore+loop {
		notes = append(notes, fmt.Sprintf("the answers repeat themselves: %s of their runs of four words stood there before, %s in the original's",
			percent(g.RepetitionAfter), percent(g.RepetitionBefore)))
	}
	if g.LanguageChanged > 0 {
		notes = append(notes, fmt.Sprintf("%d of %s in another language or script than the original's",
			g.LanguageChanged, phrase.Many(int64(g.Prompts), "answer")))
	}
	return notes
}

func speedNotes(s *plugin.SpeedRatio) []string {
	for _, r := range []plugin.Range{s.Generation, s.Prompt} {
		if r.Low > 0 && r.High > restless*r.Low {
			return []string{fmt.Sprintf("the ratio of the speeds went from %.2g to %.2g between pairs: something else kept the machine busy; evaluate again when it is quiet", r.Low, r.High)}
		}
	}
	return nil
}
