package lessons

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"pare/plugin"
)

const (
	system    = "system"
	user      = "user"
	assistant = "assistant"
)

// roles are the names that data sets give to those who speak.
var roles = map[string]string{
	"system": system,
	"user":   user, "human": user,
	"assistant": assistant, "gpt": assistant, "chatgpt": assistant, "model": assistant, "bot": assistant,
}

// shapes shows people what a value may look like.
const shapes = `{"text": "…"}, {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}, {"prompt": "…", "completion": "…"} or {"instruction": "…", "output": "…"}`

// record is a value of a data set, in any of the shapes that are common.
type record struct {
	Text          *string `json:"text"`
	Messages      []turn  `json:"messages"`
	Conversations []turn  `json:"conversations"`
	Prompt        *string `json:"prompt"`
	Completion    *string `json:"completion"`
	Response      *string `json:"response"`
	Instruction   *string `json:"instruction"`
	Input         *string `json:"input"`
	Output        *string `json:"output"`
}

type turn struct {
	Role    string  `json:"role"`
	Content *string `json:"content"`
	From    string  `json:"from"`
	Value   *string `json:"value"`
}

func parseRecord(value []byte) (Lesson, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		var wrong *json.UnmarshalTypeError
		switch {
		case !errors.As(err, &wrong):
			return Lesson{}, fmt.Errorf("%w; put one whole JSON object on each line", err)
		case wrong.Field == "":
			return Lesson{}, fmt.Errorf("a JSON %s is not a document; write %s", wrong.Value, shapes)
		default:
			return Lesson{}, fmt.Errorf("%q is a JSON %s; write %s", wrong.Field, wrong.Value, shapes)
		}
	}
	lesson, err := r.lesson()
	if err != nil {
		return Lesson{}, err
	}
	for _, text := range append(lesson.Texts(), lesson.system()) {
		if strings.ContainsRune(text, 0) {
			return Lesson{}, errors.New("the text holds a NUL character; remove it")
		}
	}
	return lesson, nil
}

// lesson returns the zero Lesson for a record of blank text.
func (r record) lesson() (Lesson, error) {
	answer := r.Completion
	if answer == nil {
		answer = r.Response
	}
	switch {
	case r.Text != nil:
		return Lesson{Text: clean(*r.Text)}, nil
	case r.Messages != nil:
		return chat(r.Messages)
	case r.Conversations != nil:
		return chat(r.Conversations)
	case r.Prompt != nil && answer != nil:
		return asked(*r.Prompt, *answer)
	case r.Instruction != nil && r.Output != nil:
		question := *r.Instruction
		if r.Input != nil && clean(*r.Input) != "" {
			question += "\n\n" + *r.Input
		}
		return asked(question, *r.Output)
	}
	return Lesson{}, errors.New("the object holds nothing to learn from; write " + shapes)
}

// asked is the chat of a question and its answer.
func asked(question, answer string) (Lesson, error) {
	return chat([]turn{{Role: user, Content: &question}, {Role: assistant, Content: &answer}})
}

// chat reads turns up to the last answer. Blank ones are left out.
func chat(turns []turn) (Lesson, error) {
	var said []plugin.Message
	answers := 0 // messages up to the last answer
	for i, t := range turns {
		m, err := t.message()
		if err != nil {
			return Lesson{}, fmt.Errorf("message %d %w", i+1, err)
		}
		if m.Content == "" {
			continue
		}
		said = append(said, m)
		if m.Role == assistant {
			answers = len(said)
		}
	}
	switch {
	case len(said) == 0:
		return Lesson{}, nil
	case answers == 0:
		return Lesson{}, errors.New("the chat has no answer of the assistant to learn from; add one or remove the chat")
	}
	return Lesson{Chat: said[:answers]}, nil
}

func (t turn) message() (plugin.Message, error) {
	name, content := t.Role, t.Content
	if name == "" {
		name = t.From
	}
	if content == nil {
		content = t.Value
	}
	role, known := roles[strings.ToLower(name)]
	switch {
	case name == "":
		return plugin.Message{}, errors.New(`has no "role"; give it one, such as "user"`)
	case !known:
		return plugin.Message{}, fmt.Errorf(`is by %.40q; chats to learn from are between "user" and "assistant", after an optional "system"`, name)
	case content == nil:
		return plugin.Message{}, errors.New(`has no "content"; give it a text, or leave the message out`)
	}
	return plugin.Message{Role: role, Content: clean(*content)}, nil
}

// system is all that the system says in a chat.
func (l Lesson) system() string {
	var said []string
	for _, m := range l.Chat {
		if m.Role == system {
			said = append(said, m.Content)
		}
	}
	return strings.Join(said, "\n\n")
}
