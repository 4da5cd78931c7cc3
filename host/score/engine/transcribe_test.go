package engine

import (
	"fmt"
	"strings"
	"testing"

	"pare/host/score"
)

// spelled makes a chat of text in which answers stand between braces.
func spelled(text string, ends bool) score.Chat {
	c := score.Chat{Ends: ends}
	for {
		before, rest, found := strings.Cut(text, "{")
		c.Text += before
		if !found {
			return c
		}
		answer, behind, _ := strings.Cut(rest, "}")
		from := len(c.Text)
		c.Text += answer
		c.Answers = append(c.Answers, [2]int{from, len(c.Text)})
		text = behind
	}
}

// shown writes tokens as text, with those that are marked between braces.
func shown(t *testing.T, e *engine, path string, c score.Chat) string {
	t.Helper()
	got, err := e.transcribe(&score.Transcribe{Path: path, Chats: []score.Chat{c}})
	if err != nil {
		t.Fatal(err)
	}
	handle, err := e.tokens(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := tokensOf(handle, c.Text, true)
	if err != nil {
		t.Fatal(err)
	}
	tr := got[0]
	if len(tr.Tokens) != len(tr.Answer) || len(tr.Tokens) > len(all) || fmt.Sprint(tr.Tokens) != fmt.Sprint(all[:len(tr.Tokens)]) {
		t.Errorf("%q: tokens %v with %d marks, the server's are %v", c.Text, tr.Tokens, len(tr.Answer), all)
	}
	var out strings.Builder
	marked := false
	for i, token := range tr.Tokens {
		if tr.Answer[i] != marked {
			out.WriteString(map[bool]string{true: "{", false: "}"}[tr.Answer[i]])
			marked = tr.Answer[i]
		}
		out.WriteString(handle.TokenToPiece(int(token)))
	}
	if marked {
		out.WriteString("}")
	}
	return out.String()
}

// TestTranscribe marks the assistant's words and the end of its turns, in tokens
// of byte pairs and in those of SentencePiece: a word's begins with the space before it.
func TestTranscribe(t *testing.T) {
	qwen, gemma := tiny(t, "qwen3", 1), tiny(t, "gemma3", 1)
	for _, c := range []struct {
		path, text string
		ends       bool
		want       string
	}{
		{qwen, "<|im_start|>user\nthe light<|im_end|>\n<|im_start|>assistant\n{of water}<|im_end|>\n<|im_start|>user\n", true,
			"<|im_start|>user\nthe light<|im_end|>\n<|im_start|>assistant\n{of water<|im_end|>}"},
		{qwen, "<|im_start|>user\nthe<|im_end|>\n<|im_start|>assistant\n{of}<|im_end|>\n<|im_start|>user\nred<|im_end|>\n<|im_start|>assistant\n{two rays}<|im_end|>", true,
			"<|im_start|>user\nthe<|im_end|>\n<|im_start|>assistant\n{of<|im_end|>}\n<|im_start|>user\nred<|im_end|>\n<|im_start|>assistant\n{two rays<|im_end|>}"},
		{qwen, "<|im_start|>assistant\n{of}<|im_end|>\n<|im_start|>user\nred<|im_end|>\n<|im_start|>assistant\n", false,
			"<|im_start|>assistant\n{of<|im_end|>}\n<|im_start|>user\nred<|im_end|>\n<|im_start|>assistant\n"},
		// White space before the end of a turn is the template's; other words end no turn.
		{qwen, "<|im_start|>assistant\n{of} \n<|im_end|>\n", true, "<|im_start|>assistant\n{of} \n{<|im_end|>}"},
		{qwen, "ASSISTANT: {of}\nUSER: the<|im_end|>", true, "ASSISTANT:{ of}"},
		{qwen, "the light", false, "the light"},
		{gemma, "<start_of_turn>user\nthe light<end_of_turn>\n<start_of_turn>model\n{of water}<end_of_turn>\n", true,
			"<bos><start_of_turn>user\nthe light<end_of_turn>\n<start_of_turn>model\n{of water<end_of_turn>}"},
		{gemma, "USER: the ASSISTANT: {of}<eos>USER", true, "<bos>USER: the ASSISTANT:{ of<eos>}"},
	} {
		if got := shown(t, newTestEngine(t), c.path, spelled(c.text, c.ends)); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// TestTranscribeSpecialWords has an answer that spells a special token: it is one, as
// it is to the server, and the end of the turn is the one that the template put.
func TestTranscribeSpecialWords(t *testing.T) {
	got := shown(t, newTestEngine(t), tiny(t, "qwen3", 1), spelled("<|im_start|>assistant\n{of<|im_end|> the}<|im_end|>\n", true))
	if want := "<|im_start|>assistant\n{of<|im_end|> the<|im_end|>}"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
