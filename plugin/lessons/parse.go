package lessons

import (
	"bytes"
	"errors"
	"fmt"

	"pare/plugin/corpus"
)

// Parse reads a user's data: UTF-8 text, which becomes one lesson, or a data set, by
// the rules of corpus.Lines, each value of which becomes one. A value holds one of
//
//	{"text": "…"}
//	{"messages": [{"role": "user", "content": "…"}, …]}
//	{"conversations": [{"from": "human", "value": "…"}, …]}
//	{"prompt": "…", "completion": "…"}, or "response"
//	{"instruction": "…", "input": "…", "output": "…"}, "input" being optional
//
// Other keys are ignored, and so are values and turns that are blank, and what
// follows the last answer of a chat. The name appears in errors; they name the byte
// or the line at fault, and what to do.
func Parse(name string, data []byte) ([]Lesson, error) {
	if name == "" {
		name = "text"
	}
	if len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))) == 0 {
		return nil, fmt.Errorf("read lessons %s: %w", name, errEmpty)
	}
	lines, err := corpus.Lines(name, data)
	if err != nil {
		return nil, fmt.Errorf("read lessons %s: %w", name, err)
	}
	if lines == nil {
		return parseText(name, data)
	}
	var all []Lesson
	for _, line := range lines {
		lesson, err := parseRecord(line.JSON)
		if err != nil {
			return nil, fmt.Errorf("read lessons %s: line %d: %w", name, line.Number, err)
		}
		if lesson.Text != "" || lesson.Chat != nil {
			all = append(all, lesson)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read lessons %s: %w", name, errEmpty)
	}
	return all, nil
}

var errEmpty = errors.New("it holds nothing to learn from; give text or chats, or leave the data out and the uncut model writes its own")

func parseText(name string, data []byte) ([]Lesson, error) {
	docs, err := corpus.Parse(name, data)
	if err != nil {
		return nil, err
	}
	all := make([]Lesson, len(docs))
	for i, d := range docs {
		all[i] = Lesson{Text: d.Text}
	}
	return all, nil
}
