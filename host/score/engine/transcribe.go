package engine

import (
	"strings"

	"github.com/ollama/ollama/llama"

	"pare/host/score"
	"pare/plugin"
)

// transcribe turns chats into tokens. A model that is not loaded need not be.
func (e *engine) transcribe(r *score.Transcribe) ([]plugin.Transcript, error) {
	handle, err := e.tokens(r.Path)
	if err != nil {
		return nil, err
	}
	out := make([]plugin.Transcript, 0, len(r.Chats))
	for _, chat := range r.Chats {
		t, err := transcript(handle, chat)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// transcript finds the tokens of each answer: those by which the tokens of the text
// up to its end are more than the tokens of the text before it.
func transcript(handle *llama.Model, chat score.Chat) (t plugin.Transcript, err error) {
	if t.Tokens, err = tokensOf(handle, chat.Text, true); err != nil {
		return t, err
	}
	t.Answer = make([]bool, len(t.Tokens))
	end := 0 // of the last answer
	for _, a := range chat.Answers {
		var bounds [2]int
		for i, at := range a {
			before, err := tokensOf(handle, chat.Text[:at], true)
			if err != nil {
				return t, err
			}
			bounds[i] = score.Common(t.Tokens, before)
		}
		for i := bounds[0]; i < bounds[1]; i++ {
			t.Answer[i] = true
		}
		end = bounds[1]
		if i := turnEnd(handle, t.Tokens, end); i >= 0 {
			t.Answer[i] = true
			end = i + 1
		}
	}
	if chat.Ends {
		t.Tokens, t.Answer = t.Tokens[:end], t.Answer[:end]
	}
	return t, nil
}

// turnEnd is the index of the token that ends the turn whose last word precedes the
// token at, or -1 if its template has none: white space alone may come before it.
func turnEnd(handle *llama.Model, tokens []int32, at int) int {
	for i := at; i < len(tokens); i++ {
		if handle.TokenIsEog(int(tokens[i])) {
			return i
		}
		if strings.TrimSpace(handle.TokenToPiece(int(tokens[i]))) != "" {
			return -1
		}
	}
	return -1
}
