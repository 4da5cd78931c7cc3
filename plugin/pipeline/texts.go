package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	"pare/plugin"
	"pare/plugin/corpus"
)

// pieceRunes bounds a piece of text: about 500 tokens of English and at most
// some 2,500 of any script, which every model's default context holds.
const pieceRunes = 2000

// defaultCorpus is the name under which Pare's own text is recorded.
const defaultCorpus = "default"

// A reading is a corpus in pieces that are ready to be traced.
type reading struct {
	info  plugin.CorpusInfo
	texts []plugin.Text
}

// read returns the corpus a request names, Pare's own for the zero value.
func read(c plugin.Corpus) (reading, error) {
	if c.Path == "" {
		return cutUp(defaultCorpus, corpus.Trace()), nil
	}
	data, err := os.ReadFile(c.Path)
	if err != nil {
		return reading{}, fmt.Errorf("read the corpus: %w", err)
	}
	name := c.Name
	if name == "" {
		name = "text"
	}
	docs, err := corpus.Parse(name, data)
	if err != nil {
		return reading{}, plugin.Errorf(plugin.Invalid, "read the corpus: %w", err)
	}
	return cutUp(name, docs), nil
}

// cutUp divides documents into pieces, each once.
func cutUp(name string, docs []corpus.Document) reading {
	r := reading{info: plugin.CorpusInfo{Name: name, Documents: len(docs)}}
	seen := map[string]bool{}
	all := sha256.New()
	for _, d := range corpus.Chunk(docs, pieceRunes) {
		sum := sha256.Sum256([]byte(d.Text))
		digest := hex.EncodeToString(sum[:])
		if seen[digest] {
			continue
		}
		seen[digest] = true
		all.Write(sum[:])
		r.texts = append(r.texts, plugin.Text{Digest: digest, Text: d.Text})
		r.info.Texts = append(r.info.Texts, digest)
	}
	r.info.Digest = "sha256:" + hex.EncodeToString(all.Sum(nil))
	return r
}
