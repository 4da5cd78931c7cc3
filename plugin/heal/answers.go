package heal

import (
	"context"
	"fmt"
	"strings"

	"pare/plugin"
	"pare/plugin/corpus"
	"pare/plugin/journal"
)

// An answer is what the uncut model said to one of Pare's prompts.
type answer struct {
	Prompt string
	Text   string
	Ended  bool // by the model
}

// answersForm is that of answers.bin, in the folder of the uncut model: what it
// answered once serves every later repair.
var answersForm = journal.Form[answer]{
	Name: "answers.bin", Magic: "PAREANS1", What: "record of answers",
	Valid: func(*answer) error { return nil },
}

// How the uncut model answers. A temperature below 1 keeps small models from
// rambling, and one above 0 from repeating themselves.
const (
	answerTokens = 200
	temperature  = 0.8
	answerSeed   = 1
	together     = 8 // prompts a call
)

// answers has the uncut model answer Pare's prompts until there are so many tokens,
// as far as the prompts go, and keeps each answer.
func answers(ctx context.Context, p Patient, tokens int, h plugin.Host, event func(plugin.Event)) ([]answer, error) {
	kept, err := answersForm.Open(p.Kept)
	if err != nil {
		return nil, err
	}
	defer kept.Close()
	known := map[string]answer{}
	for _, e := range kept.All {
		known[e.Value.Prompt] = e.Value
	}
	var out []answer
	have := 0
	take := func(a answer) {
		if strings.TrimSpace(a.Text) != "" {
			out = append(out, a)
		}
		have += roughTokens(a.Prompt) + roughTokens(a.Text)
	}
	prompts := corpus.TrainPrompts()
	for len(prompts) > 0 && have < tokens {
		if a, ok := known[prompts[0]]; ok {
			take(a)
			prompts = prompts[1:]
			continue
		}
		event(plugin.Event{Stage: "answer", Status: "the whole model answers, to learn from", Completed: int64(have), Total: int64(tokens)})
		n := min(together, len(prompts))
		some := make([]answer, n)
		err := h.Generate(ctx, plugin.GenerateRequest{
			Model: p.Model.Name, Variants: []plugin.Variant{{}}, Prompts: prompts[:n],
			MaxTokens: answerTokens, Temperature: temperature, Seed: answerSeed, Parallel: together,
		}, func(a plugin.Answer) error {
			some[a.Prompt] = answer{Prompt: prompts[a.Prompt], Text: a.Text, Ended: a.Ended}
			return kept.Add(some[a.Prompt])
		})
		if err != nil {
			return nil, fmt.Errorf("have the model answer prompts: %w", err)
		}
		for _, a := range some {
			take(a)
		}
		prompts = prompts[n:]
	}
	return out, nil
}

// roughTokens guesses at the tokens of a text: four letters each.
func roughTokens(text string) int { return len(text)/4 + 1 }
