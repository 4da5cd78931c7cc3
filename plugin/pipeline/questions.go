package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pare/plugin"
	"pare/plugin/corpus"
	"pare/plugin/evaluate"
	"pare/plugin/phrase"
)

// A question is one whose choices can be scored.
type question struct {
	corpus.Question
	choices []passage // context and choice; scored is the choice
}

// questionsOf reads the files of a request, Pare's own questions where it has none.
// The files take turns, so that each prefix is a fair sample of all. Notes tell what is
// left out of them.
func questionsOf(files []plugin.Corpus) (questions []corpus.Question, notes []string, err error) {
	if len(files) == 0 {
		return corpus.Tasks(), nil, nil
	}
	var all [][]corpus.Question
	for _, f := range files {
		name, data, err := readFile(f, "questions")
		if err != nil {
			return nil, nil, err
		}
		qs, leftOut, err := corpus.ParseQuestions(name, data)
		if err != nil {
			return nil, nil, plugin.Errorf(plugin.Invalid, "read the questions: %w", err)
		}
		if leftOut > 0 {
			notes = append(notes, fmt.Sprintf("left out of %s: %s, two of whose choices are equal, so that neither can win", name, phrase.Many(int64(leftOut), "question")))
		}
		all = append(all, qs)
	}
	return corpus.Interleave(all), notes, nil
}

// passQuestions tokenizes questions. A choice begins where its tokens part from
// those of the context alone, since the last of these may merge with its first.
// One that does not fit into the window is asked with the end of its context, behind
// the token that begins a prompt.
func passQuestions(ctx context.Context, h plugin.Host, m plugin.Model, asked []corpus.Question, window int) ([]question, error) {
	texts := []string{""} // what of it begins every prompt
	for _, q := range asked {
		texts = append(texts, q.Context)
		for _, c := range q.Choices {
			texts = append(texts, q.Context+c)
		}
	}
	tokens, err := h.Tokenize(ctx, m.Name, texts)
	if err != nil {
		return nil, err
	}
	begin, tokens := tokens[0], tokens[1:]
	first := max(1, len(begin))
	out := make([]question, len(asked))
	for i, q := range asked {
		out[i].Question = q
		given := tokens[0]
		for _, t := range tokens[1 : 1+len(q.Choices)] {
			from := max(first, shared(given, t))
			if over := len(t) - window; over > 0 {
				t, from = slices.Concat(begin, t[over+len(begin):]), max(first, from-over)
			}
			if from >= len(t) {
				return nil, plugin.Errorf(plugin.Invalid, "question %d (%s): a choice adds nothing to %q that the model could tell apart; give each choice a word of its own",
					i+1, q.Kind, q.Context)
			}
			out[i].choices = append(out[i].choices, newPassage(q.Kind, t, from))
		}
		tokens = tokens[1+len(q.Choices):]
	}
	return out, nil
}

// shared is the number of tokens that two lists begin with alike.
func shared(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// answers are what a variant made of questions that were scored.
func (b *book) answers(qs []question, v variant) []evaluate.Question {
	out := make([]evaluate.Question, len(qs))
	for i, q := range qs {
		out[i] = evaluate.Question{Name: q.Kind, Answer: q.Answer}
		for k, p := range q.choices {
			t, _ := b.find(p, v)
			out[i].Choices = append(out[i].Choices, evaluate.ScoredChoice{
				LogProb: -t.Sums.NLL, Tokens: int(t.Sums.Tokens), Bytes: len(strings.TrimSpace(q.Choices[k])),
			})
		}
	}
	return out
}
