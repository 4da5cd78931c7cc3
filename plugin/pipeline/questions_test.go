package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"pare/plugin"
	"pare/plugin/corpus"
	"pare/plugin/evaluate"
)

// merging splits a text into letters, but "th" is one token.
func merging(text string) []string {
	var out []string
	for text != "" {
		n := 1
		if strings.HasPrefix(text, "th") {
			n = 2
		}
		out, text = append(out, text[:n]), text[n:]
	}
	return out
}

// TestChoicesAreScored finds where each choice begins, also where its first letter
// merges with the last one of the context, and where the context is too long.
func TestChoicesAreScored(t *testing.T) {
	for _, c := range []struct {
		name, context string
		choices       []string
		bare          bool
		window        int
		want          []string // what is run, and "|" where scoring begins
	}{
		{"plain", "ab", []string{"c", "de"}, false, 100, []string{"<s> a b | c", "<s> a b | d e"}},
		{"merged", "at", []string{"he", "o"}, false, 100, []string{"<s> a | th e", "<s> a t | o"}},
		{"merged at the very beginning", "t", []string{"hex", "o"}, true, 100, []string{"th | e x", "t | o"}},
		{"too long a context", "abcdef", []string{"xy", "z"}, false, 4, []string{"<s> f | x y", "<s> e f | z"}},
		{"too long a choice", "ab", []string{"uvwxyz", "z"}, false, 4, []string{"<s> | x y z", "<s> a b | z"}},
		{"too long where nothing begins a prompt", "abcdef", []string{"xy", "z"}, true, 4, []string{"e f | x y", "d e f | z"}},
	} {
		h := newBench(t)
		h.split, h.bare = merging, c.bare
		qs, err := passQuestions(t.Context(), h, h.model, []corpus.Question{{Kind: "k", Context: c.context, Choices: c.choices}}, c.window)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i, p := range qs[0].choices {
			got := h.text(p.Tokens[:p.From]) + " | " + h.text(p.Tokens[p.From:])
			if p.style != "k" || got != c.want[i] {
				t.Errorf("%s: %q is run, want %q", c.name, got, c.want[i])
			}
		}
	}
}

// TestAChoiceThatAddsNothing is refused with the number of its question.
func TestAChoiceThatAddsNothing(t *testing.T) {
	h := newBench(t)
	_, err := passQuestions(t.Context(), h, h.model, []corpus.Question{
		{Kind: "k", Context: "one two", Choices: []string{" three", " four"}},
		{Kind: "k", Context: "one two", Choices: []string{" three", " "}},
	}, window)
	if plugin.KindOf(err) != plugin.Invalid || !strings.Contains(fmt.Sprint(err), "question 2 (k)") {
		t.Errorf("refused with %v", err)
	}
}

// TestAnswers gives each choice its own score, in the order of the questions.
func TestAnswers(t *testing.T) {
	h := newBench(t)
	asked := []corpus.Question{
		{Kind: "k", Context: "one two", Choices: []string{" three", " four five"}, Answer: 1},
		{Kind: "l", Context: "one", Choices: []string{" two", " three", "\nsix"}, Answer: 2},
	}
	qs, err := passQuestions(t.Context(), h, h.model, asked, window)
	if err != nil {
		t.Fatal(err)
	}
	b := opened(t, t.TempDir())
	v := bypassing([]int{7})
	for _, q := range qs {
		b.mustScore(t, h, []variant{v}, q.choices)
	}
	before, after := b.answers(qs, whole), b.answers(qs, v)
	for i, q := range asked {
		if before[i].Name != q.Kind || before[i].Answer != q.Answer || len(before[i].Choices) != len(q.Choices) {
			t.Errorf("question %d: %+v", i, before[i])
		}
		for k, c := range before[i].Choices {
			text := strings.TrimSpace(q.Choices[k])
			want := evaluate.ScoredChoice{LogProb: c.LogProb, Tokens: len(strings.Fields(text)), Bytes: len(text)}
			if c != want || c.LogProb >= 0 || after[i].Choices[k].LogProb >= c.LogProb {
				t.Errorf("question %d, choice %d: %+v, then %+v", i, k, c, after[i].Choices[k])
			}
		}
	}
}

// TestQuestionsOf reads what comes with a request, and names the line at fault.
func TestQuestionsOf(t *testing.T) {
	b := newBench(t)
	own, notes, err := questionsOf(nil)
	if err != nil || len(own) < 80 || len(notes) > 0 {
		t.Errorf("%d questions of Pare's own, %v", len(own), err)
	}
	good := `{"context": "one", "choices": [" two", " three"], "answer": 0}`
	folder := t.TempDir()
	files := []plugin.Corpus{b.file(folder, "a.jsonl", good, good), b.file(folder, "b.jsonl", good, good)}
	qs, _, err := questionsOf(files)
	if err != nil || len(qs) != 4 || qs[0].Kind == qs[1].Kind || qs[0].Kind != qs[2].Kind {
		t.Errorf("the files do not take turns: %+v, %v", qs, err)
	}
	files[1] = b.file(folder, "b.jsonl", good, `{"context": "one", "choices": [" two", " two"], "answer": 0}`)
	_, notes, err = questionsOf(files)
	if want := "left out of " + files[1].Name + ": 1 question, two of whose choices are equal"; err != nil || len(notes) != 1 || !strings.HasPrefix(notes[0], want) {
		t.Errorf("notes %q, %v", notes, err)
	}
	files[1] = b.file(folder, "b.jsonl", good, `{"context": "one"}`)
	if _, _, err := questionsOf(files); plugin.KindOf(err) != plugin.Invalid || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("refused with %v", err)
	}
}
