package heal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"pare/plugin"
	"pare/plugin/corpus"
	"pare/plugin/journal"
	"pare/plugin/lessons"
)

// An answer is what the uncut model wrote.
type answer struct {
	Prompt string
	Form   string // what a prompt became, by the chatForm of the model then; "" where it was as it is
	Text   string
	Ended  bool // by the model
}

// answersForm is that of answers.bin, in the folder of the uncut model: what it
// wrote once serves every later repair.
var answersForm = journal.Form[answer]{
	Name: "answers.bin", Magic: "PAREANS2", What: "record of answers",
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

// A writing is a way to have the uncut model write.
type writing struct {
	form    string // of chats; "" if it goes on with a text, rather than answer
	prompts []string
}

func (w writing) raw() bool { return w.form == "" }

// A question is a prompt and the form in which it is put.
type question struct{ form, prompt string }

func (w writing) question(prompt string) question { return question{w.form, prompt} }

// lesson is what there is to learn from an answer.
func (w writing) lesson(a answer) lessons.Lesson {
	if w.raw() {
		return lessons.Lesson{Text: a.Prompt + a.Text}
	}
	return lessons.Lesson{Chat: []plugin.Message{{Role: "user", Content: a.Prompt}, {Role: "assistant", Content: a.Text}}}
}

// teaches reports whether there is something to learn from an answer. Where what is
// learnt is the next token, an answer that was cut short would teach to stop there.
func (w writing) teaches(a answer, loss string) bool {
	return strings.TrimSpace(a.Text) != "" && (w.raw() || a.Ended || loss != plugin.LossNext)
}

// chatForm tells apart what models of the same file make of a chat by their templates and system
// prompts. It is "" where chats cannot be learnt from: the model has no template, or one
// in which answers cannot be told from the rest. Such a model goes on with everything.
func chatForm(ctx context.Context, h plugin.Host, model string) (string, error) {
	read, err := h.Transcribe(ctx, model, [][]plugin.Message{{{Role: "user", Content: "?"}, {Role: "assistant", Content: "!"}}})
	if plugin.KindOf(err) == plugin.Refused {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, t := range read {
		binary.Write(sum, binary.LittleEndian, t.Tokens)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// written has the uncut model answer Pare's prompts and go on with Pare's openings, in
// turns, until there are so many tokens, as far as both go. Answers alone, which are
// all of one style, leave the healed model behind on other text.
func written(ctx context.Context, p Patient, tokens int, h plugin.Host, event func(plugin.Event)) ([]lessons.Lesson, error) {
	kept, err := answersForm.Open(p.Kept)
	if err != nil {
		return nil, err
	}
	defer kept.Close()
	known := map[question]answer{}
	for _, e := range kept.All {
		known[question{e.Value.Form, e.Value.Prompt}] = e.Value
	}
	var out []lessons.Lesson
	have := 0
	form, err := chatForm(ctx, h, p.Model.Name)
	if err != nil {
		return nil, err
	}
	ways := []writing{{form, corpus.TrainPrompts()}, {"", corpus.Openings()}}
	for have < tokens && slices.ContainsFunc(ways, func(w writing) bool { return len(w.prompts) > 0 }) {
		for i := range ways {
			w := &ways[i]
			some := w.prompts[:min(together, len(w.prompts))]
			w.prompts = w.prompts[len(some):]
			event(plugin.Event{Stage: "answer", Status: "the whole model writes, to learn from", Completed: int64(have), Total: int64(tokens)})
			if err := w.write(ctx, p, some, known, h, kept.Add); err != nil {
				return nil, err
			}
			for _, prompt := range some {
				a := known[w.question(prompt)]
				have += roughTokens(a.Prompt) + roughTokens(a.Text)
				if w.teaches(a, p.Settings.Loss) {
					out = append(out, w.lesson(a))
				}
			}
		}
	}
	return out, nil
}

// write has the uncut model write to those prompts to which it has not before.
func (w writing) write(ctx context.Context, p Patient, prompts []string, known map[question]answer, h plugin.Host, keep func(answer) error) error {
	var fresh []string
	for _, prompt := range prompts {
		if _, ok := known[w.question(prompt)]; !ok {
			fresh = append(fresh, prompt)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	err := h.Generate(ctx, plugin.GenerateRequest{
		Model: p.Model.Name, Variants: []plugin.Variant{{}}, Prompts: fresh, Raw: w.raw(),
		MaxTokens: answerTokens, Temperature: temperature, Seed: answerSeed, Parallel: together,
	}, func(a plugin.Answer) error {
		written := answer{Prompt: fresh[a.Prompt], Form: w.form, Text: a.Text, Ended: a.Ended}
		known[w.question(written.Prompt)] = written
		return keep(written)
	})
	if err != nil {
		return fmt.Errorf("have the model write: %w", err)
	}
	return nil
}

// roughTokens guesses at the tokens of a text: four letters each.
func roughTokens(text string) int { return len(text)/4 + 1 }
