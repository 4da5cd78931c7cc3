package heal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"pare/plugin"
	"pare/plugin/corpus"
	"pare/plugin/lessons"
)

// heldShare of what there is to learn from is held out, to choose the ridge by and to
// see when training no longer helps.
const heldShare = 0.1

// minTokens is what training takes at least.
const minTokens = 512

// A material is what is learnt from, as tokens.
type material struct {
	documents
	packed, packedHeld lessons.Packed
	corpora            []plugin.CorpusInfo
	texts              []string // that were learnt from, to be scored never
	digest             string   // of all tokens and of what is learnt of them
}

// documents are pieces of text no longer than a row, each to be run from an empty
// context.
type documents struct {
	train, held documentList
}

type documentList []document

// A document is the tokens of one.
type document []int32

// upTo is the shortest prefix with so many tokens, or all.
func (l documentList) upTo(tokens int) documentList {
	for i, d := range l {
		if tokens -= len(d); tokens <= 0 {
			return l[:i+1]
		}
	}
	return l
}

func tokensOf(l documentList) (n int) {
	for _, d := range l {
		n += len(d)
	}
	return n
}

func sequences(l documentList) [][]int32 {
	out := make([][]int32, len(l))
	for i, d := range l {
		out[i] = d
	}
	return out
}

// gather reads, or has the uncut model write, what to learn from.
func gather(ctx context.Context, p Patient, h plugin.Host, event func(plugin.Event)) (material, error) {
	all, name, err := p.lessons(ctx, h, event)
	if err != nil {
		return material{}, err
	}
	parts, err := lessons.Split(all, heldShare, p.Unfit)
	if err != nil {
		return material{}, plugin.Errorf(plugin.Invalid, "repair: %w", err)
	}
	m := material{}
	if m.packed, err = p.pack(ctx, h, parts.Train, minTokens); err != nil {
		return m, err
	}
	if m.packedHeld, err = p.pack(ctx, h, parts.Held, 1); err != nil {
		return m, err
	}
	m.train, m.held = pieces(m.packed), pieces(m.packedHeld)
	sum := sha256.New()
	for _, rows := range [][]lessons.Row{m.packed.Rows, m.packedHeld.Rows} {
		for _, r := range rows {
			binary.Write(sum, binary.LittleEndian, r.Tokens)
			binary.Write(sum, binary.LittleEndian, r.Segment)
			binary.Write(sum, binary.LittleEndian, r.Weight)
		}
	}
	m.digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	m.corpora = []plugin.CorpusInfo{infoOf(name, parts.Train), infoOf(name+" (held out)", parts.Held)}
	for _, l := range slices.Concat(parts.Train, parts.Held) {
		m.texts = append(m.texts, l.Texts()...)
	}
	return m, nil
}

// lessons are the user's, or the uncut model's own answers and Pare's own text.
func (p Patient) lessons(ctx context.Context, h plugin.Host, event func(plugin.Event)) ([]lessons.Lesson, string, error) {
	data := p.Settings.Data
	if data.Path != "" {
		name, bytes, err := readFile(data)
		if err != nil {
			return nil, "", err
		}
		all, err := lessons.Parse(name, bytes)
		if err != nil {
			return nil, "", plugin.Errorf(plugin.Invalid, "repair: %w", err)
		}
		return all, name, nil
	}
	var all []lessons.Lesson
	own := 0
	for _, d := range corpus.Trace() {
		all = append(all, lessons.Lesson{Text: d.Text})
		own += roughTokens(d.Text)
	}
	tokens := fitTokens + heldTokens
	if trains(p.Settings.Method) {
		tokens = budget(p.Settings) / readings
	}
	given, err := written(ctx, p, tokens-own, h, event)
	return append(all, given...), plugin.DataSelf, err
}

// readings is how often a training reads what the model wrote. To write and to observe a
// token takes about as long as to learn from it thrice, and read seven times over, a
// few answers are learnt by heart: the loss on others stops falling.
const readings = 3

// pack tokenizes lessons and lays them into rows. Distillation learns what the uncut
// model makes of every token, questions included, unless a user's chats say otherwise.
func (p Patient) pack(ctx context.Context, h plugin.Host, all []lessons.Lesson, least int) (lessons.Packed, error) {
	docs, begin, err := lessons.Tokenize(ctx, h, p.Model.Name, all)
	if err != nil {
		return lessons.Packed{}, err
	}
	if p.Settings.Loss != plugin.LossNext && p.Settings.Data.Path == "" {
		for i := range docs {
			docs[i].Learn = nil
		}
	}
	packed, err := lessons.Pack(docs, lessons.Packing{Length: p.Settings.Length, Begin: begin, Least: least})
	if err != nil {
		return packed, plugin.Errorf(plugin.Invalid, "repair: %w", err)
	}
	return packed, nil
}

func pieces(p lessons.Packed) (out documentList) {
	for _, q := range p.Sequences() {
		if len(q) > 1 {
			out = append(out, q)
		}
	}
	return out
}

// infoOf records lessons.
func infoOf(name string, all []lessons.Lesson) plugin.CorpusInfo {
	info := plugin.CorpusInfo{Name: name, Documents: len(all)}
	sum := sha256.New()
	for _, l := range all {
		fmt.Fprintln(sum, l.Digest())
		info.Texts = append(info.Texts, l.Digest())
	}
	info.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return info
}
