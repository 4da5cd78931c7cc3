package evaluate

import "pare/plugin"

// A Question is one multiple-choice question as one model scored it.
type Question struct {
	Name    string         `json:"name"` // its kind
	Choices []ScoredChoice `json:"choices"`
	Answer  int            `json:"answer"` // index of the right choice
}

// A ScoredChoice is a choice as it continues the context.
type ScoredChoice struct {
	LogProb float64 `json:"log_prob"` // Σ ln p of its tokens, given the context
	Tokens  int     `json:"tokens"`
	Bytes   int     `json:"bytes"` // of its text in UTF-8, without white space around it
}

// Pick is the choice with the highest log-probability per byte, the first of
// equals. Divided by bytes, choices of different length can be compared, and so
// can models that cut the text into different tokens; on text in ASCII it is
// acc_norm of lm-evaluation-harness, which divides by characters, and on any
// text what its newer versions call acc_bytes.
func (q Question) Pick() int {
	score := func(c ScoredChoice) float64 { return c.LogProb / float64(max(c.Bytes, 1)) }
	best := 0
	for i, c := range q.Choices {
		if score(c) > score(q.Choices[best]) {
			best = i
		}
	}
	return best
}

func (q Question) right() bool { return q.Pick() == q.Answer }

// Tasks gives the share of questions that a model answers right by
// [Question.Pick], and how a second model changed it: first over all questions,
// then for each kind in order of first appearance. after is nil, or the same
// questions in the same order as the second model scored them. Without
// questions there is no score.
//
// Accuracies come with Wilson's interval, the change with that of Agresti and
// Min for paired answers.
func Tasks(before, after []Question) []plugin.TaskScore {
	if len(before) == 0 {
		return nil
	}
	var kinds []string
	all, byKind := &tally{}, map[string]*tally{} // a kind may be called All
	for i, q := range before {
		if byKind[q.Name] == nil {
			kinds = append(kinds, q.Name)
			byKind[q.Name] = &tally{}
		}
		for _, t := range []*tally{all, byKind[q.Name]} {
			t.chance += 1 / float64(max(len(q.Choices), 1))
			t.count(q.right(), after != nil && after[i].right())
		}
	}
	scores := []plugin.TaskScore{all.score(All, after != nil)}
	for _, kind := range kinds {
		scores = append(scores, byKind[kind].score(kind, after != nil))
	}
	return scores
}

// A tally counts answers.
type tally struct {
	questions, right, rightAfter int
	lost, won                    int     // right before and wrong after; the reverse
	chance                       float64 // Σ of what guessing gets
}

// count counts a question by its answers before and after.
func (t *tally) count(was, is bool) {
	t.questions++
	switch {
	case was && is:
		t.right++
		t.rightAfter++
	case was:
		t.right++
		t.lost++
	case is:
		t.rightAfter++
		t.won++
	}
}

func (t *tally) score(name string, paired bool) plugin.TaskScore {
	s := plugin.TaskScore{
		Name:      name,
		Questions: t.questions,
		Chance:    t.chance / float64(t.questions),
		Before:    share(t.right, t.questions),
	}
	if paired {
		after, difference := share(t.rightAfter, t.questions), change(t.won, t.lost, t.questions)
		s.After, s.Change = &after, &difference
	}
	return s
}
