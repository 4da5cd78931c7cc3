package lessons

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"pare/plugin"
)

// A speller is a host whose tokens are bytes, behind a 1.
type speller struct {
	plugin.Host
	fail error // of Transcribe
	lose int   // transcripts
}

func (s speller) Tokenize(_ context.Context, _ string, texts []string) (out [][]int32, err error) {
	for _, text := range texts {
		tokens := []int32{1}
		for _, b := range []byte(text) {
			tokens = append(tokens, int32(b))
		}
		out = append(out, tokens)
	}
	return out, nil
}

func (s speller) Transcribe(_ context.Context, _ string, chats [][]plugin.Message) (out []plugin.Transcript, err error) {
	for _, chat := range chats {
		tr := plugin.Transcript{Tokens: []int32{1}, Answer: []bool{false}}
		for _, m := range chat {
			for _, b := range []byte(m.Content) {
				tr.Tokens = append(tr.Tokens, int32(b))
				tr.Answer = append(tr.Answer, m.Role == assistant)
			}
		}
		out = append(out, tr)
	}
	return out[:len(out)-s.lose], s.fail
}

func TestTokenize(t *testing.T) {
	all := []Lesson{said("user: a", "assistant: b"), {Text: "c"}, said("user: d", "assistant: e"), {Text: "f"}}
	docs, begin, err := Tokenize(t.Context(), speller{}, "m", all)
	want := []Tokens{
		{[]int32{1, 'a', 'b'}, []bool{false, false, true}},
		{[]int32{1, 'c'}, nil},
		{[]int32{1, 'd', 'e'}, []bool{false, false, true}},
		{[]int32{1, 'f'}, nil},
	}
	if err != nil || !reflect.DeepEqual(docs, want) || !reflect.DeepEqual(begin, []int32{1}) {
		t.Errorf("got %v behind %v and error %v, want %v", docs, begin, err, want)
	}
}

func TestTokenizeFails(t *testing.T) {
	refused := plugin.Errorf(plugin.Refused, "m has no template")
	chats := []Lesson{said("user: a", "assistant: b")}
	if _, _, err := Tokenize(t.Context(), speller{fail: refused}, "m", chats); !errors.Is(err, refused) {
		t.Errorf("chats without a template: %v", err)
	}
	if docs, _, err := Tokenize(t.Context(), speller{fail: refused}, "m", []Lesson{{Text: "a"}}); err != nil || len(docs) != 1 {
		t.Errorf("texts need no template: %v", err)
	}
	if _, _, err := Tokenize(t.Context(), speller{lose: 1}, "m", chats); plugin.KindOf(err) != plugin.Internal || err == nil {
		t.Errorf("a chat that does not come back: %v", err)
	}
}
