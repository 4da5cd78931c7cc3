package pipeline

import (
	"slices"
	"strings"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
	"pare/plugin/corpus"
	"pare/plugin/journal"
)

// usedText holds the digests of all text that layers were chosen by, or that a repair
// learnt from, which is therefore never scored: of each piece and of each of its paragraphs, so that it is
// known again in a file that is cut up in another way.
type usedText map[string]bool

// paragraphBytes is the length from which a paragraph tells one text from another.
const paragraphBytes = 40

// usedForm is that of used.bin, which grows with all text that is traced, or that
// losses are compared on, before that is done.
var usedForm = journal.Form[[]string]{
	Name: "used.bin", Magic: "PAREUSE1", What: "record of used text",
	Valid: func(*[]string) error { return nil },
}

// noteUsed records in a model's folder that layers are chosen by documents.
func noteUsed(folder string, docs []corpus.Document) error {
	texts := make([]string, len(docs))
	for i, d := range docs {
		texts[i] = d.Text
	}
	return noteTexts(folder, texts)
}

// noteTexts records that texts are not to be scored.
func noteTexts(folder string, texts []string) error {
	known, err := usedForm.Open(folder)
	if err != nil {
		return err
	}
	defer known.Close()
	used := usedText{}
	for _, e := range known.All {
		used.add(e.Value)
	}
	var fresh []string
	for _, text := range texts {
		for _, mark := range marks(text) {
			if !used[mark] {
				used[mark] = true
				fresh = append(fresh, mark)
			}
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return known.Add(fresh)
}

// marks are the digests of a piece of text and of its paragraphs.
func marks(text string) []string {
	out := []string{textDigest(text)}
	for paragraph := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		if paragraph = strings.TrimSpace(paragraph); len(paragraph) >= paragraphBytes {
			out = append(out, textDigest(paragraph))
		}
	}
	return out
}

// everUsed is all text that any job has traced of a model, or compared losses on, or
// of those that it was cut from.
func everUsed(profiles string, m plugin.Model, f *gguf.File) (usedText, error) {
	cuts, err := convert.History(f)
	if err != nil {
		return nil, err
	}
	digests := []string{m.Digest}
	for _, c := range cuts {
		digests = append(digests, c.Parent)
	}
	used := usedText{}
	for _, digest := range digests {
		folder := plugin.ProfileFolder(profiles, digest)
		noted, err := usedForm.Read(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range noted.All {
			used.add(e.Value)
		}
		traced, err := readFrames(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range traced.All {
			used.add(e.Value.Texts)
		}
	}
	return used, nil
}

func (u usedText) add(marks []string) {
	for _, mark := range marks {
		u[mark] = true
	}
}

// holds reports whether any of a text was used.
func (u usedText) holds(text string) bool {
	return slices.ContainsFunc(marks(text), func(mark string) bool { return u[mark] })
}
