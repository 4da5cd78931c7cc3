package lessons

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pare/plugin/corpus"
)

// book is a text of different sentences, about 40 characters each.
func book(title string, sentences int) string {
	var b strings.Builder
	for i := range sentences {
		fmt.Fprintf(&b, "Sentence number %d of %s is of no great use. ", i, title)
	}
	return strings.TrimSpace(b.String())
}

func textsOf(all []Lesson) (texts []string) {
	for _, l := range all {
		texts = append(texts, l.Text)
	}
	return texts
}

func split(t *testing.T, all []Lesson, share float64, used func(string) bool) Parts {
	t.Helper()
	p, err := Split(all, share, used)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sentencesIn returns each sentence of all lessons and how often it is there.
func sentencesIn(all []Lesson) map[string]int {
	found := make(map[string]int)
	for _, l := range all {
		for s := range strings.SplitSeq(strings.ReplaceAll(l.Text, "\n", " "), ". ") {
			if s = strings.TrimSpace(strings.TrimSuffix(s, ".")); s != "" {
				found[s]++
			}
		}
	}
	return found
}

func TestSplitKeepsDocumentsWhole(t *testing.T) {
	var all []Lesson
	for i := range 40 {
		all = append(all, Lesson{Text: book(fmt.Sprint("book ", i), 80)}) // 2 pieces each
	}
	p := split(t, all, 0.2, nil)
	if len(p.Held) != 8 || len(p.Train) != 32 {
		t.Fatalf("%d held out and %d trained on, want 8 and 32", len(p.Held), len(p.Train))
	}
	both := append(textsOf(p.Held), textsOf(p.Train)...)
	want := textsOf(all)
	slices.Sort(both)
	slices.Sort(want)
	if !slices.Equal(both, want) {
		t.Error("the documents are not those that were given")
	}
}

func TestSplitCutsASingleText(t *testing.T) {
	for _, sentences := range []int{20, 100, 2000} {
		p := split(t, []Lesson{{Text: book("the only book", sentences)}}, 0.2, nil)
		train, held := sentencesIn(p.Train), sentencesIn(p.Held)
		for s := range held {
			if train[s] > 0 {
				t.Errorf("%d sentences: %q is on both sides", sentences, s)
			}
		}
		if n := len(train) + len(held); n != sentences || len(held) < sentences/10 || len(held) > sentences*4/10 {
			t.Errorf("%d sentences: %d are trained on and %d held out", sentences, len(train), len(held))
		}
		for s, n := range train {
			if n != 1 {
				t.Errorf("%d sentences: %q is trained on %d times", sentences, s, n)
			}
		}
	}
}

// Long text must stay long, so that a model learns to look far back, but not so long
// that the first lessons are no sample of all.
func TestSplitJoinsWhatItCut(t *testing.T) {
	p := split(t, []Lesson{{Text: book("a long book", 4000)}}, 0.2, nil)
	longest, total := 0, 0
	for _, l := range p.Train {
		longest = max(longest, len(l.Text))
		total += len(l.Text)
	}
	if mean := total / len(p.Train); mean < 4000 || longest < 3*pieceRunes || longest > joined*pieceRunes {
		t.Errorf("%d lessons of %d characters on average and at most %d", len(p.Train), mean, longest)
	}
}

func TestSplitDependsOnTheWordsAlone(t *testing.T) {
	all := []Lesson{said("user: Why?", "assistant: Because.")}
	for i := range 30 {
		all = append(all, Lesson{Text: book(fmt.Sprint("book ", i), 5)})
	}
	p := split(t, all, 0.3, nil)
	slices.Reverse(all)
	if again := split(t, all, 0.3, nil); !reflect.DeepEqual(p, again) {
		t.Error("in reverse other lessons are held out, or in another order")
	}
	if slices.IsSorted(textsOf(p.Train)) {
		t.Error("lessons to train on are in the order of their words, so that the first are no fair sample")
	}
}

func TestSplitKeepsAnswersToOneQuestionTogether(t *testing.T) {
	var all []Lesson
	for question := range 20 {
		for answer := range 3 {
			all = append(all, said("system: Be brief", fmt.Sprint("user: Question ", question), fmt.Sprint("assistant: Answer ", answer)))
		}
	}
	p := split(t, all, 0.2, nil)
	trained := make(map[string]bool)
	for _, l := range p.Train {
		trained[l.Chat[1].Content] = true
	}
	for _, l := range p.Held {
		if trained[l.Chat[1].Content] {
			t.Errorf("%q is on both sides", l.Chat[1].Content)
		}
	}
	if len(p.Held) != 12 || len(p.Train) != 48 {
		t.Errorf("%d held out and %d trained on, want 12 and 48", len(p.Held), len(p.Train))
	}
}

func TestSplitKeepsEqualLessonsOnce(t *testing.T) {
	one, two := said("user: 1?", "assistant: 1"), said("user: 2?", "assistant: 2")
	p := split(t, []Lesson{one, two, one, one}, 0.5, nil)
	if len(p.Train) != 1 || len(p.Held) != 1 || p.Used != 2 {
		t.Errorf("%d trained on, %d held out, %d left out; want 1, 1 and 2", len(p.Train), len(p.Held), p.Used)
	}
}

// What other parts of a job use is in neither part, in whatever form it was used.
func TestSplitLeavesUsedTextOut(t *testing.T) {
	text := book("a book that was traced", 400)
	traced := corpus.Chunk([]corpus.Document{{Text: text}}, pieceRunes)[2].Text
	flat, err := corpus.Parse("", []byte(`{"messages":[{"role":"user","content":"Is it used?"},{"role":"assistant","content":"It is."}]}`))
	if err != nil {
		t.Fatal(err)
	}
	turn, _, _ := strings.Cut(flat[0].Text, "\n\n")
	all := []Lesson{{Text: text}, said("user: Is it used?", "assistant: It is."), said("user: Is it?", "assistant: No."), said("user: Was it used?", "assistant: Never.")}
	p := split(t, all, 0.3, func(text string) bool { return text == traced || text == turn || text == "Never." })
	if p.Used != 3 {
		t.Errorf("%d pieces left out, want the piece of the book and two chats", p.Used)
	}
	found := sentencesIn(append(p.Train, p.Held...))
	for s := range sentencesIn([]Lesson{{Text: traced}}) {
		if found[s] > 0 {
			t.Errorf("%q was used before", s)
		}
	}
	if len(found) < 300 {
		t.Errorf("only %d sentences are left", len(found))
	}
	for _, l := range append(p.Train, p.Held...) {
		if l.Chat != nil && l.Chat[0].Content != "Is it?" {
			t.Errorf("chat %q was used before", l.Chat)
		}
	}
}

// Whoever cuts the same text as the pipeline does meets all of what was trained on.
func TestTextsNameThePiecesOfOtherCuts(t *testing.T) {
	for _, sentences := range []int{30, 400} {
		text := book("a book to come again", sentences)
		known := make(map[string]bool)
		p := split(t, []Lesson{{Text: text}}, 0.2, nil)
		for _, l := range p.Train {
			for _, text := range l.Texts() {
				known[text] = true
			}
		}
		trained := sentencesIn(p.Train)
		for _, piece := range corpus.Chunk([]corpus.Document{{Text: text}}, pieceRunes) {
			for s := range sentencesIn([]Lesson{{Text: piece.Text}}) {
				if trained[s] > 0 && !known[piece.Text] {
					t.Fatalf("%d sentences: %q was trained on, but its piece is not known", sentences, s)
				}
			}
		}
	}
	texts := said("system: Be brief", "user: Why?", "assistant: Because.").Texts()
	if want := []string{"Why?", "User: Why?", "Because.", "Assistant: Because."}; !slices.Equal(texts, want) {
		t.Errorf("texts of a chat: %q, want %q", texts, want)
	}
}

func TestSplitRefuses(t *testing.T) {
	for _, tt := range []struct {
		what string
		all  []Lesson
		used func(string) bool
		want string
	}{
		{"one line", []Lesson{{Text: "It was a dark and stormy night."}}, nil, "of 31 characters"},
		{"one chat", []Lesson{said("user: Hi", "assistant: Hello")}, nil, "of 7 characters"},
		{"one question", []Lesson{said("user: Hi", "assistant: A"), said("user: Hi", "assistant: B")}, nil, "too little"},
		{"used text", []Lesson{{Text: book("x", 300)}}, func(string) bool { return true }, "used before"},
		{"no lessons", nil, nil, "no lessons"},
	} {
		p, err := Split(tt.all, 0.2, tt.used)
		if err == nil || !strings.Contains(err.Error(), tt.want) || p.Train != nil || p.Held != nil {
			t.Errorf("%s: got %v and error %v, want %q in it", tt.what, p, err, tt.want)
		}
	}
}
