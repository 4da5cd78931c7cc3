package tinymodel

import (
	"fmt"
	"slices"
	"strings"

	"pare/gguf/gguftest"
)

// Token types, by their numbers in tokenizer.ggml.token_type.
const (
	normalToken  int32 = 1
	unknownToken int32 = 2
	controlToken int32 = 3
	byteToken    int32 = 6
)

// words get tokens of their own, as do their beginnings: " t", " th", " the". All else
// is spelled letter by letter.
const words = "the of and to in that is was for it with as his on be at by had not are but from or have they which you " +
	"light rays water colour glass one two three body part white red blue"

// vocabulary is what the tokenizer.ggml keys hold.
type vocabulary struct {
	model, pre string // pre only for byte-level BPE
	tokens     []string
	types      []int32
	scores     []float32 // only for SentencePiece
	merges     []string  // only for byte-level BPE
	addBOS     bool
	special    []gguftest.KV
}

// llamaVocabulary is byte-level BPE as Llama 3 has it.
func llamaVocabulary() vocabulary {
	v := bytePairs("llama-bpe")
	v.addBOS = true
	v.named("bos", v.add("<|begin_of_text|>", controlToken))
	v.named("eos", v.add("<|end_of_text|>", controlToken))
	v.named("eot", v.add("<|eot_id|>", controlToken))
	return v
}

// qwenVocabulary is byte-level BPE as Qwen 2 and 3 have it.
func qwenVocabulary() vocabulary {
	v := bytePairs("qwen2")
	v.named("bos", v.add("<|endoftext|>", controlToken))
	v.add("<|im_start|>", controlToken)
	v.named("eos", v.add("<|im_end|>", controlToken))
	return v
}

// gemmaVocabulary is SentencePiece with byte fallback. Ollama takes token 106 for the
// end of a turn where the file does not name one.
func gemmaVocabulary() vocabulary {
	v := vocabulary{model: "llama", addBOS: true}
	v.named("padding", v.add("<pad>", controlToken))
	v.named("eos", v.add("<eos>", controlToken))
	v.named("bos", v.add("<bos>", controlToken))
	v.named("unknown", v.add("<unk>", unknownToken))
	v.add("<start_of_turn>", controlToken)
	v.named("eot", v.add("<end_of_turn>", controlToken))
	v.spellings()
	return v
}

// phiVocabulary is SentencePiece with the tokens that llama.cpp looks for in phi3.
func phiVocabulary() vocabulary {
	v := vocabulary{model: "llama", addBOS: true}
	v.named("unknown", v.add("<unk>", unknownToken))
	v.named("bos", v.add("<s>", controlToken))
	v.add("</s>", controlToken)
	v.named("eos", v.add("<|endoftext|>", controlToken))
	v.named("eot", v.add("<|end|>", controlToken))
	v.spellings()
	return v
}

// spellings adds what SentencePiece spells texts with, and a score for every token.
func (v *vocabulary) spellings() {
	for b := range 256 {
		v.add(fmt.Sprintf("<0x%02X>", b), byteToken)
	}
	v.add("\n", normalToken)
	v.add("▁", normalToken)
	for c := '!'; c <= '~'; c++ {
		v.add(string(c), normalToken)
	}
	for _, beginning := range beginnings("▁") {
		v.add(beginning, normalToken)
	}
	for id := range v.tokens {
		v.scores = append(v.scores, -float32(id))
	}
}

// bytePairs has a token for each byte, and merges that build the words from the left.
func bytePairs(pre string) vocabulary {
	v := vocabulary{model: "gpt2", pre: pre}
	for b := range 256 {
		v.add(string(byteRune(byte(b))), normalToken)
	}
	for _, token := range beginnings(string(byteRune(' '))) {
		v.add(token, normalToken)
		r := []rune(token)
		last := len(r) - 1
		v.merges = append(v.merges, string(r[:last])+" "+string(r[last]))
	}
	return v
}

// byteRune is the visible character that stands for a byte in byte-level BPE: itself
// where it is printable in Latin-1, else the next one from U+0100 on.
func byteRune(b byte) rune {
	printable := func(b byte) bool { return b > ' ' && b < 0x7f || b > 0xa0 && b != 0xad }
	if printable(b) {
		return rune(b)
	}
	r := rune(0x100)
	for other := range b {
		if !printable(other) {
			r++
		}
	}
	return r
}

// beginnings lists, shortest first, each beginning of two letters or more that a word
// has with a space before it.
func beginnings(space string) []string {
	var list []string
	for _, word := range strings.Fields(words) {
		for end := range len(word) {
			if b := space + word[:end+1]; !slices.Contains(list, b) {
				list = append(list, b)
			}
		}
	}
	return list
}

func (v *vocabulary) add(token string, kind int32) uint32 {
	v.tokens = append(v.tokens, token)
	v.types = append(v.types, kind)
	return uint32(len(v.tokens) - 1)
}

// named gives a token one of the roles that have keys: bos, eos, eot, unknown, padding.
func (v *vocabulary) named(role string, id uint32) {
	v.special = append(v.special, gguftest.KV{Key: "tokenizer.ggml." + role + "_token_id", Value: id})
}

// unspoken tells control tokens and single bytes that are no printable ASCII.
func (v vocabulary) unspoken(id int) bool {
	if v.types[id] != normalToken {
		return true
	}
	r := []rune(v.tokens[id])
	return v.model == "gpt2" && len(r) == 1 && (r[0] < '!' || r[0] > '~') && r[0] != byteRune(' ')
}

func (v vocabulary) keyValues() []gguftest.KV {
	kvs := []gguftest.KV{{Key: "tokenizer.ggml.model", Value: v.model}}
	if v.pre != "" {
		kvs = append(kvs, gguftest.KV{Key: "tokenizer.ggml.pre", Value: v.pre})
	}
	kvs = append(kvs,
		gguftest.KV{Key: "tokenizer.ggml.tokens", Value: v.tokens},
		gguftest.KV{Key: "tokenizer.ggml.token_type", Value: v.types})
	if v.scores != nil {
		kvs = append(kvs,
			gguftest.KV{Key: "tokenizer.ggml.scores", Value: v.scores},
			gguftest.KV{Key: "tokenizer.ggml.add_space_prefix", Value: false})
	}
	if v.merges != nil {
		kvs = append(kvs, gguftest.KV{Key: "tokenizer.ggml.merges", Value: v.merges})
	}
	kvs = append(kvs, v.special...)
	return append(kvs,
		gguftest.KV{Key: "tokenizer.ggml.add_bos_token", Value: v.addBOS},
		gguftest.KV{Key: "tokenizer.ggml.add_eos_token", Value: false})
}
