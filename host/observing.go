package host

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/template"

	"pare/host/score"
	"pare/plugin"
)

// Observe implements plugin.Host.
func (l *lent) Observe(ctx context.Context, r plugin.ObserveRequest, each func(plugin.Observation) error) error {
	models, err := l.variants(r.Model, []plugin.Variant{r.Variant})
	if err != nil {
		return err
	}
	told := 0 // sequences come in their order
	return again(ctx, func() error {
		if told > 0 && told == len(r.Sequences) {
			return nil // it ended behind its last word
		}
		first := told
		o := score.Observe{Model: models[0], Sequences: r.Sequences[first:], First: first, Points: r.Points, Top: r.Top}
		return l.scorer.Observe(ctx, o, func(o plugin.Observation) error {
			told = o.Sequence + 1
			return each(o)
		})
	})
}

// Transcribe implements plugin.Host.
func (l *lent) Transcribe(ctx context.Context, model string, chats [][]plugin.Message) ([]plugin.Transcript, error) {
	s, err := l.lookUp(model)
	if err != nil {
		return nil, err
	}
	c, err := s.chat()
	if err != nil {
		return nil, err
	}
	rendered := make([]score.Chat, len(chats))
	for i, messages := range chats {
		if rendered[i], err = c.transcript(messages); err != nil {
			return nil, fmt.Errorf("transcribe chat %d for %s: %w", i, c.name, err)
		}
	}
	var out []plugin.Transcript
	err = again(ctx, func() (err error) {
		out, err = l.scorer.Transcribe(ctx, s.path, rendered)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("transcribe chats for %s: %w", c.name, err)
	}
	return out, nil
}

// talks reports whether there is more to a prompt than the text of a message.
func (c chat) talks() bool {
	return c.renderer != "" || c.template.String() != template.DefaultTemplate.String()
}

// transcript renders a chat as the model sees it: all that came before its last turn
// as the server renders a prompt, and the last answer behind it, as the model wrote it.
// What follows an answer is what the template puts before the user's next turn.
func (c chat) transcript(messages []plugin.Message) (out score.Chat, err error) {
	if !c.talks() {
		return out, &plugin.Error{Kind: plugin.Refused, Err: fmt.Errorf("the model has no chat template"), Hint: "give text, or take a model with a template"}
	}
	if err := checkChat(messages); err != nil {
		return out, err
	}
	last := messages[len(messages)-1]
	prompt := messages
	if out.Ends = last.Role == "assistant"; out.Ends {
		prompt = messages[:len(messages)-1]
	}
	if out.Text, out.Answers, err = c.mark(prompt); err != nil || !out.Ends {
		return out, err
	}
	answered, at, err := c.mark(append(slices.Clone(messages), plugin.Message{Role: "user", Content: "?"}))
	if err != nil {
		return out, err
	}
	from := len(out.Text)
	out.Text += last.Content
	out.Answers = append(out.Answers, [2]int{from, len(out.Text)})
	out.Text += answered[at[len(at)-1][1]:]
	return out, nil
}

// checkChat refuses what no template renders.
func checkChat(messages []plugin.Message) error {
	asked := false
	for i, m := range messages {
		switch m.Role {
		case "user":
			asked = true
		case "assistant":
			if !asked {
				return plugin.Errorf(plugin.Invalid, "message %d is an answer and nothing was asked; begin with the user's words", i)
			}
			if m.Content == "" {
				return plugin.Errorf(plugin.Invalid, "message %d is an empty answer; leave it out", i)
			}
		case "system":
		default:
			return plugin.Errorf(plugin.Invalid, "message %d is by %q; a message is by system, user or assistant", i, m.Role)
		}
	}
	if !asked {
		return plugin.Errorf(plugin.Invalid, "the user says nothing in it; give one message or more")
	}
	return nil
}

// mark renders messages and finds the assistant's words, as bytes of the prompt: it
// renders them with a sign in the place of each answer, too, as a template may put
// anything before and behind one, whatever it says.
func (c chat) mark(messages []plugin.Message) (prompt string, answers [][2]int, err error) {
	var signs, words []string
	plain, signed := make([]api.Message, len(messages)), make([]api.Message, len(messages))
	for i, m := range messages {
		plain[i] = api.Message{Role: m.Role, Content: m.Content}
		signed[i] = plain[i]
		if m.Role == "assistant" {
			signed[i].Content = fmt.Sprintf("\u27e6answer %d\u27e7", i)
			signs, words = append(signs, signed[i].Content), append(words, m.Content)
		}
	}
	if prompt, err = c.render(plain, nil); err != nil {
		return "", nil, err
	}
	rest, err := c.render(signed, nil)
	if err != nil {
		return "", nil, err
	}
	var text strings.Builder
	for i, sign := range signs {
		before, behind, found := strings.Cut(rest, sign)
		if !found {
			return "", nil, c.rewrites()
		}
		text.WriteString(before)
		from := text.Len()
		if !strings.HasPrefix(prompt[min(from, len(prompt)):], words[i]) {
			words[i] = strings.TrimSpace(words[i])
		}
		text.WriteString(words[i])
		answers = append(answers, [2]int{from, text.Len()})
		rest = behind
	}
	text.WriteString(rest)
	if text.String() != prompt {
		return "", nil, c.rewrites()
	}
	return prompt, answers, nil
}

// rewrites is the error that answers cannot be told from the rest of a prompt.
func (c chat) rewrites() error {
	return &plugin.Error{Kind: plugin.Refused, Err: fmt.Errorf("the template changes what the assistant said earlier"), Hint: "give chats with one answer each, or text"}
}
