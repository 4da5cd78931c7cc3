// Package lessons makes what a repair learns from out of what a user gives: texts
// and chats, parted into those to train on and those that are held out, and packed
// as tokens into rows of one length.
//
//	parse.go     a file into lessons; record.go one line of a data set
//	split.go     lessons to train on, and lessons to judge the training by
//	tokens.go    lessons as the model reads them
//	pack.go      their tokens in rows; piece.go what of a document lies where
//	fit.go       which pieces share a row
package lessons

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"pare/plugin"
)

// A Lesson is a document to learn from: a text, all of which is learnt, or a chat,
// of which the assistant's answers are. It sees no other document.
type Lesson struct {
	Text string
	Chat []plugin.Message // nil for a text; the last one is the assistant's

	parts []string // what Split put the text together from
}

// Digest names a lesson by its words.
func (l Lesson) Digest() string { return digest(l.Text, l.Chat) }

// question is what the last answer of a chat is to: all before it. That of a text is
// the text.
func (l Lesson) question() string {
	if l.Chat == nil {
		return digest(l.Text, nil)
	}
	return digest("", l.Chat[:len(l.Chat)-1])
}

func digest(text string, chat []plugin.Message) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d\n", len(text), len(chat))
	io.WriteString(h, text)
	for _, m := range chat {
		fmt.Fprintf(h, "%d %d\n%s%s", len(m.Role), len(m.Content), m.Role, m.Content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Texts are all by which the words of a lesson could be met again in a corpus, so that
// what was trained on is never scored: a text and the pieces it was put together
// from, or the turns of a chat with and without the label that package corpus gives
// them. What the system says is left out, as many chats share it.
func (l Lesson) Texts() []string {
	if l.Chat == nil {
		return append([]string{l.Text}, l.parts...)
	}
	var texts []string
	for _, m := range l.Chat {
		if m.Role == system {
			continue
		}
		first, size := utf8.DecodeRuneInString(m.Role)
		texts = append(texts, m.Content, string(unicode.ToUpper(first))+m.Role[size:]+": "+m.Content)
	}
	return texts
}

// clean trims white space and takes carriage returns out of line ends.
func clean(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
}
