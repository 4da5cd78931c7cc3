package pipeline

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"

	"pare/plugin"
	"pare/plugin/corpus"
)

// pieceRunes bounds a piece of text: about 500 tokens of English and at most
// some 2,500 of any script, which every model's default context holds.
const pieceRunes = 2000

// Of a user's text a part is held out, to be scored and never traced or chosen
// by, if it has enough pieces to spare one.
const (
	heldOut   = 0.2
	holdsFrom = 5 // pieces
)

// defaultCorpus is the name under which Pare's own text is recorded.
const defaultCorpus = "default"

// A reading is a corpus cut into pieces: those to trace and choose by, and those
// that are held out to be scored.
type reading struct {
	chosen pieces
	held   pieces // none of a short text
}

// pieces are what documents were cut into, each once.
type pieces struct {
	info plugin.CorpusInfo
	docs []corpus.Document
}

// textsOf are pieces as the host traces them.
func textsOf(docs []corpus.Document) []plugin.Text {
	out := make([]plugin.Text, len(docs))
	for i, d := range docs {
		out[i] = plugin.Text{Digest: textDigest(d.Text), Text: d.Text}
	}
	return out
}

// textDigest names a text.
func textDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// only keeps the pieces of which keep holds.
func (p pieces) only(keep func(i int) bool) pieces {
	var docs []corpus.Document
	for i, d := range p.docs {
		if keep(i) {
			docs = append(docs, d)
		}
	}
	return gather(p.info.Name, p.info.Documents, docs)
}

// shuffled puts the pieces in the order of their digests, by which each prefix is a
// fair sample of a text of any form, a single book too.
func (p pieces) shuffled() pieces {
	docs := slices.Clone(p.docs)
	slices.SortFunc(docs, func(a, b corpus.Document) int { return cmp.Compare(textDigest(a.Text), textDigest(b.Text)) })
	return gather(p.info.Name, p.info.Documents, docs)
}

// read returns the corpus a request names, Pare's own for the zero value.
func read(c plugin.Corpus) (reading, error) {
	if c.Path == "" {
		trace, score := corpus.Trace(), corpus.Score()
		return reading{
			chosen: gather(defaultCorpus, len(trace), corpus.Chunk(trace, pieceRunes)),
			held:   gather(defaultCorpus+" (held out)", len(score), corpus.Chunk(score, pieceRunes)),
		}, nil
	}
	all, err := readPieces(c)
	if err != nil {
		return reading{}, err
	}
	if len(all.docs) < holdsFrom {
		return reading{chosen: all}, nil
	}
	chosen, held := corpus.Split(all.docs, heldOut)
	name, documents := all.info.Name, all.info.Documents
	return reading{
		chosen: gather(name, documents, chosen),
		held:   gather(name+" (held out)", documents, held),
	}, nil
}

// readPieces cuts a user's whole corpus into pieces.
func readPieces(c plugin.Corpus) (pieces, error) {
	name, data, err := readFile(c, "text")
	if err != nil {
		return pieces{}, err
	}
	docs, err := corpus.Parse(name, data)
	if err != nil {
		return pieces{}, plugin.Errorf(plugin.Invalid, "read the corpus: %w", err)
	}
	return gather(name, len(docs), corpus.Chunk(docs, pieceRunes)), nil
}

// readFile reads what the host keeps of a request.
func readFile(c plugin.Corpus, unnamed string) (name string, data []byte, err error) {
	if name = c.Name; name == "" {
		name = unnamed
	}
	if data, err = os.ReadFile(c.Path); err != nil {
		return "", nil, fmt.Errorf("read %s: %w", name, err)
	}
	return name, data, nil
}

// gather keeps each piece once and records them all.
func gather(name string, documents int, docs []corpus.Document) pieces {
	p := pieces{info: plugin.CorpusInfo{Name: name, Documents: documents}}
	seen := map[string]bool{}
	all := sha256.New()
	for _, d := range docs {
		sum := sha256.Sum256([]byte(d.Text))
		digest := hex.EncodeToString(sum[:])
		if seen[digest] {
			continue
		}
		seen[digest] = true
		all.Write(sum[:])
		p.docs = append(p.docs, d)
		p.info.Texts = append(p.info.Texts, digest)
	}
	p.info.Digest = "sha256:" + hex.EncodeToString(all.Sum(nil))
	return p
}
