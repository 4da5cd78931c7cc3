// Package corpus holds the text that Pare sends through a model to see which
// layers change its hidden states least, and takes in the text that users
// bring instead.
//
// The text that ships with Pare was written for it. It comes in two parts in
// the same styles: one is traced, the other only scored, so that the loss a
// cut costs is measured on text that did not choose the cut. Questions with
// choices and prompts, likewise written for Pare and likewise only scored, tell
// what else is lost.
package corpus

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Document is a text that stands on its own: no two documents share a context
// when they are run through a model.
type Document struct {
	Style string // the kind of text, or the name of what it was read from
	Text  string // valid UTF-8
}

//go:embed trace/*.txt score/*.txt
var files embed.FS

// Trace returns the documents to profile a model with. The styles are
// interleaved, so that the first documents are a fair sample of all of them.
func Trace() []Document { return load("trace") }

// Score returns documents in the same styles that Trace never returns, in the
// same kind of order.
func Score() []Document { return load("score") }

// Digest names the text that ships with Pare, as DigestOf does.
func Digest() string { return DigestOf(Trace(), Score()) }

// DigestOf returns "sha256:" and the hex digest of both parts of a corpus. It
// depends on the order, style and text of every document, and on which part
// the document is in.
func DigestOf(trace, score []Document) string {
	h := sha256.New()
	for _, part := range [][]Document{trace, score} {
		fmt.Fprintf(h, "%d\n", len(part))
		for _, d := range part {
			fmt.Fprintf(h, "%d %d\n", len(d.Style), len(d.Text))
			io.WriteString(h, d.Style)
			io.WriteString(h, d.Text)
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// load reads one embedded folder, whose files are named NN-style.txt and hold
// documents separated by a line of three dashes.
func load(part string) []Document {
	entries, err := files.ReadDir(part)
	if err != nil {
		panic(fmt.Sprintf("corpus: %v", err)) // the folder is embedded
	}
	styles := make([][]Document, len(entries))
	for i, e := range entries {
		data, err := files.ReadFile(part + "/" + e.Name())
		if err != nil {
			panic(fmt.Sprintf("corpus: %v", err))
		}
		_, style, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".txt"), "-")
		for text := range strings.SplitSeq(string(data), "\n---\n") {
			styles[i] = append(styles[i], Document{style, strings.TrimRight(text, "\n")})
		}
	}
	return Interleave(styles)
}

// Interleave spreads what each group holds evenly over the whole. The groups start
// at different places, a golden section of the whole apart, for else those that
// hold a single thing would follow one another.
func Interleave[T any](groups [][]T) []T {
	type placed struct {
		at    int // position in millionths of the whole
		thing T
	}
	var all []placed
	for g, group := range groups {
		start := 618 * g % 1000
		for i, thing := range group {
			all = append(all, placed{(1000*i + start) * 1000 / len(group), thing})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	things := make([]T, len(all))
	for i, p := range all {
		things[i] = p.thing
	}
	return things
}
