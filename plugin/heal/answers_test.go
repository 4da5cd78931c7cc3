package heal

import (
	"context"
	"errors"
	"testing"

	"pare/plugin"
)

// A writer is a host whose model writes a sentence, and may have no template.
type writer struct {
	plugin.Host // nil: it is asked for no more than the methods below
	chats       error
	template    int32
	raw, asked  int // prompts
}

func (w *writer) Transcribe(context.Context, string, [][]plugin.Message) ([]plugin.Transcript, error) {
	return []plugin.Transcript{{Tokens: []int32{w.template}}}, w.chats
}

func (w *writer) Generate(_ context.Context, r plugin.GenerateRequest, each func(plugin.Answer) error) error {
	if r.Raw {
		w.raw += len(r.Prompts)
	} else {
		w.asked += len(r.Prompts)
	}
	for i := range r.Prompts {
		if err := each(plugin.Answer{Prompt: i, Text: "It is as it is, and so on.", Ended: true}); err != nil {
			return err
		}
	}
	return nil
}

// Of a model without a template no chats are made: it would refuse to learn from them.
func TestWhatAModelWrites(t *testing.T) {
	for name, c := range map[string]struct {
		refusal error
		chats   bool
	}{
		"with a template":    {nil, true},
		"without a template": {plugin.Errorf(plugin.Refused, "the model has no chat template"), false},
	} {
		w := &writer{chats: c.refusal}
		all, err := written(t.Context(), Patient{Kept: t.TempDir()}, 1000, w, func(plugin.Event) {})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		texts, chats := 0, 0
		for _, l := range all {
			if l.Chat != nil {
				chats++
			} else {
				texts++
			}
		}
		if texts == 0 || (chats > 0) != c.chats || (w.asked > 0) != c.chats {
			t.Errorf("%s: %d texts and %d chats, %d prompts as they are and %d in a template", name, texts, chats, w.raw, w.asked)
		}
	}
	// What was written once serves as long as prompts become the same.
	folder := t.TempDir()
	for _, c := range []struct {
		template int32
		writes   bool
	}{{1, true}, {1, false}, {2, true}, {1, false}} {
		w := &writer{template: c.template}
		if _, err := written(t.Context(), Patient{Kept: folder}, 1000, w, func(plugin.Event) {}); err != nil || (w.asked > 0) != c.writes {
			t.Errorf("template %d: %d prompts were answered, %v", c.template, w.asked, err)
		}
	}
	lost := errors.New("lost")
	if _, err := written(t.Context(), Patient{Kept: t.TempDir()}, 1000, &writer{chats: lost}, func(plugin.Event) {}); !errors.Is(err, lost) {
		t.Errorf("another error: %v", err)
	}
}
