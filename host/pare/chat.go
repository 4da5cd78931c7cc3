package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/ollama/ollama/envconfig"
	"github.com/ollama/ollama/readline"

	"pare/host/client"
)

const chatHelp = `  /whole   have the whole model answer, to compare; again: without the layers
  /clear   forget the chat so far
  /bye     leave (Ctrl-D)
  /?       this list
Ctrl-C stops an answer.
`

// A conversation is a chat on a terminal. Whoever answers, all of it is kept.
type conversation struct {
	*trial
	messages []client.Message
	intact   bool // the whole model answers
}

// chat answers line by line until the person leaves.
func (t *trial) chat(ctx context.Context) error {
	lines, err := readline.New(readline.Prompt{
		Prompt: ">>> ", AltPrompt: "... ",
		Placeholder: "Send a message (/? for help)", AltPlaceholder: "Press Enter to send",
	})
	if err != nil {
		return fmt.Errorf("open the terminal: %w", err)
	}
	if envconfig.NoHistory() {
		lines.HistoryDisable()
	}
	fmt.Fprint(t.out, readline.StartBracketedPaste)
	defer fmt.Fprint(t.out, readline.EndBracketedPaste)
	fmt.Fprintf(t.out, "%s %s: %d of %d layers are left out as it runs, and nothing was written. /? for help\n",
		t.model, t.without(), len(t.plan.Remove), t.plan.Layers)
	c := &conversation{trial: t}
	for {
		line, err := message(lines)
		switch {
		case errors.Is(err, io.EOF):
			fmt.Fprintln(t.out)
			return nil
		case errors.Is(err, readline.ErrInterrupt):
			fmt.Fprintln(t.out, "\nCtrl-D or /bye leaves.")
			continue
		case errors.Is(err, readline.ErrEditPrompt):
			continue
		case err != nil:
			return fmt.Errorf("read from the terminal: %w", err)
		}
		if line == "/bye" {
			return nil
		}
		if err := c.hear(ctx, line); err != nil {
			return err
		}
	}
}

// message reads a line, or, of text that is pasted, all of its lines.
func message(lines *readline.Instance) (string, error) {
	var text strings.Builder
	for {
		line, err := lines.Readline()
		text.WriteString(line)
		if err != nil || !lines.Pasting {
			return strings.TrimSpace(text.String()), err
		}
		text.WriteString("\n")
	}
}

// hear does what a line says. An error ends the chat.
func (c *conversation) hear(ctx context.Context, line string) error {
	switch {
	case line == "":
	case line == "/clear":
		c.messages = nil
		fmt.Fprintln(c.out, "The chat so far is forgotten.")
	case line == "/whole":
		c.intact = !c.intact
		fmt.Fprintf(c.out, "From here on %s answers.\n", c.sides()[len(c.sides())-1].name)
	case line == "/?", line == "/help":
		fmt.Fprint(c.out, chatHelp)
	case strings.HasPrefix(line, "/"):
		fmt.Fprintf(c.out, "There is no %s; /? lists what there is.\n", strings.Fields(line)[0])
	default:
		return c.reply(ctx, line)
	}
	return nil
}

// sides are those who answer: one, as /whole has it, where --both does not ask
// for two.
func (c *conversation) sides() []side {
	if c.intact {
		return []side{c.whole()}
	}
	return c.trial.sides()
}

// reply answers a message. What was said up to Ctrl-C counts.
func (c *conversation) reply(ctx context.Context, line string) error {
	answering, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	asked := append(c.messages, client.Message{Role: "user", Content: line})
	said, err := c.answer(answering, asked, c.sides())
	var status *client.StatusError
	switch {
	case answering.Err() != nil && ctx.Err() == nil:
		err = nil
	case errors.As(err, &status):
		fmt.Fprintf(os.Stderr, "Error: %v\n", err)
		if len(c.messages) > 0 {
			fmt.Fprintln(os.Stderr, "If the chat has grown too long, /clear forgets it.")
		}
		return nil
	}
	if err == nil && said != "" {
		c.messages = append(asked, client.Message{Role: "assistant", Content: said})
	}
	fmt.Fprintln(c.out)
	return err
}
