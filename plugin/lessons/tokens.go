package lessons

import (
	"context"

	"pare/plugin"
)

// Tokens are a document as a model reads it.
type Tokens struct {
	IDs   []int32
	Learn []bool // which of IDs are to be predicted; nil for all
}

// Tokenize returns each lesson as the named model reads it, chats in the model's own
// template with their answers to be learnt, and the tokens that begin every prompt of
// the model, of which it may have none. A model that has no template refuses chats.
func Tokenize(ctx context.Context, h plugin.Host, model string, all []Lesson) (docs []Tokens, begin []int32, err error) {
	texts := []string{""} // what of it begins every prompt
	var chats [][]plugin.Message
	for _, l := range all {
		if l.Chat != nil {
			chats = append(chats, l.Chat)
		} else {
			texts = append(texts, l.Text)
		}
	}
	read, err := h.Tokenize(ctx, model, texts)
	if err != nil {
		return nil, nil, err
	}
	var transcripts []plugin.Transcript
	if len(chats) > 0 {
		if transcripts, err = h.Transcribe(ctx, model, chats); err != nil {
			return nil, nil, err
		}
	}
	if len(read) != len(texts) || len(transcripts) != len(chats) {
		return nil, nil, plugin.Errorf(plugin.Internal, "tokenize lessons: %d texts and %d chats came back of %d and %d", len(read), len(transcripts), len(texts), len(chats))
	}
	begin, read = read[0], read[1:]
	docs = make([]Tokens, len(all))
	for i, l := range all {
		if l.Chat != nil {
			docs[i] = Tokens{transcripts[0].Tokens, transcripts[0].Answer}
			transcripts = transcripts[1:]
			continue
		}
		docs[i].IDs, read = read[0], read[1:]
	}
	return docs, begin, nil
}
