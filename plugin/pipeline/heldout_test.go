package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pare/plugin"
)

// of is a corpus of n pieces, and their texts, sorted.
func (b *bench) of(n int) (plugin.Corpus, []string) {
	b.t.Helper()
	var texts []string
	for i := range n {
		texts = append(texts, fmt.Sprintf("piece number%d of a corpus", i))
	}
	c := b.corpus(b.t.TempDir(), "pieces", texts...)
	slices.Sort(texts)
	return c, texts
}

// common are the texts in both lists.
func common(a, b []string) (both []string) {
	for _, text := range a {
		if slices.Contains(b, text) {
			both = append(both, text)
		}
	}
	return both
}

// TestSplit holds a fifth of a corpus out, if it has enough pieces.
func TestSplit(t *testing.T) {
	b := newBench(t)
	for n, held := range map[int]int{1: 0, 4: 0, 5: 1, 10: 2, 20: 4} {
		c, _ := b.of(n)
		r, err := read(c)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.held.docs) != held || len(r.chosen.docs) != n-held || len(r.held.info.Texts) != held || len(r.chosen.info.Texts) != n-held {
			t.Errorf("%d pieces: %d chosen by and %d held out, want %d held out", n, len(r.chosen.docs), len(r.held.docs), held)
		}
		if both := common(r.held.info.Texts, r.chosen.info.Texts); len(both) > 0 {
			t.Errorf("%d pieces: %q are on both sides", n, both)
		}
	}
	own, err := read(plugin.Corpus{})
	if err != nil || len(own.held.docs) == 0 || len(common(own.held.info.Texts, own.chosen.info.Texts)) > 0 {
		t.Errorf("Pare's own text: %d held out, %v", len(own.held.docs), err)
	}
}

// TestChosenTextIsNotScored judges by the corpus that the cut was chosen by. What
// was traced or tried is not scored, and the rest is.
func TestChosenTextIsNotScored(t *testing.T) {
	for _, criterion := range []string{"auto", "loss", "angular"} {
		b := newBench(t)
		c, texts := b.of(10)
		b.job.Profile.Corpus, b.job.Evaluate.Corpus = c, c
		b.job.Evaluate.Tasks = b.job.Evaluate.Tasks[:1]
		b.job.Selection.Criterion = criterion
		r := b.mustPrune()
		scored := common(texts, b.scored("cut.gguf"))
		if len(scored) != 2 {
			t.Errorf("%s: %q were scored, want 2 of 10", criterion, scored)
		}
		used := append(slices.Clone(b.traced), usedList(r.Plan.Text)...)
		if len(used) < 8 {
			t.Errorf("%s: %d texts were traced or tried, want 8", criterion, len(used))
		}
		if both := common(r.Evaluation.Corpora[0].Texts, used); len(both) > 0 || len(r.Evaluation.Corpora[0].Texts) != 2 {
			t.Errorf("%s: the report says that %q were used and scored", criterion, both)
		}
		if tried := common(scored, b.scored("4-5")); len(tried) > 0 {
			t.Errorf("%s: %q were tried and scored", criterion, tried)
		}
	}
}

func usedList(corpora []plugin.CorpusInfo) (all []string) {
	for _, c := range corpora {
		all = append(all, c.Texts...)
	}
	return all
}

// TestChosenTextIsNotScoredLater judges what a job made by the corpus that the job
// brought for itself, of which no profile is kept.
func TestChosenTextIsNotScoredLater(t *testing.T) {
	for _, criterion := range []string{"auto", "loss", "angular"} {
		b := newBench(t)
		c, texts := b.of(10)
		b.job.Profile.Corpus = c
		b.job.Selection.Criterion = criterion
		made := b.mustPrune()
		r := b.request()
		r.Other, r.Evaluate.Corpus = made.Result.Name, c
		b.mustEvaluate(r)
		if scored := common(texts, b.scored("small:latest")); len(scored) != 2 {
			t.Errorf("by %s: %d of the 10 texts were scored, want the 2 held out", criterion, len(scored))
		}
	}
}

// TestAllTextIsUsed has a corpus too short to hold any of it out.
func TestAllTextIsUsed(t *testing.T) {
	b := newBench(t)
	c, _ := b.of(4)
	b.job.Profile.Corpus, b.job.Evaluate.Corpus = c, c
	_, err := b.prune(t.Context(), func(int) {})
	if plugin.KindOf(err) != plugin.Invalid || !strings.Contains(fmt.Sprint(err), "pieces.jsonl was used to choose layers") || len(b.made) > 0 {
		t.Errorf("%v", err)
	}
	if slices.Contains(b.events, "cut") {
		t.Error("a file was cut first")
	}
	b.profile(b.job.Profile)
	if _, err := b.evaluate(b.request()); plugin.KindOf(err) != plugin.Invalid {
		t.Errorf("evaluation: %v", err)
	}
	r := b.sweep()
	for _, criterion := range []string{"angular", "loss"} {
		r.Criteria = []string{criterion}
		if _, err := b.swept(t.Context(), r, func(int) {}); plugin.KindOf(err) != plugin.Invalid {
			t.Errorf("sweep by %s: %v", criterion, err)
		}
	}
	r.Criteria = []string{"deepest"} // chooses by no text, but others did by this
	if _, err := b.swept(t.Context(), r, func(int) {}); plugin.KindOf(err) != plugin.Invalid {
		t.Errorf("sweep by position alone: %v", err)
	}
}

// paragraphs are n of them, each long enough to be known again.
func paragraphs(n int) []string {
	var out []string
	for i := range n {
		out = append(out, strings.TrimSpace(strings.Repeat(fmt.Sprintf("paragraph%d of a long text. ", i), 20)))
	}
	return out
}

// TestShiftedTextIsKnownAgain brings the text that layers were chosen by with one more
// paragraph in front, so that it is cut up in other places.
func TestShiftedTextIsKnownAgain(t *testing.T) {
	b := newBench(t)
	all := paragraphs(20)
	b.job.Profile.Corpus = b.corpus(t.TempDir(), "book", strings.Join(all[:18], "\n\n"))
	b.profile(b.job.Profile)
	r := b.request()
	shifted := "One more paragraph comes in front of all of the others.\n\n" + strings.Join(all[:18], "\n\n")
	r.Evaluate.Corpus = b.corpus(t.TempDir(), "shifted", shifted, all[18])
	e := b.mustEvaluate(r)
	own, chosen := b.used(b.job.Profile.Corpus)
	for text := range strings.SplitSeq(strings.Join(b.scored(""), "\n"), "paragraph") {
		if number, _, ok := strings.Cut(text, " of a long text."); ok && chosen["paragraph"+number] {
			t.Errorf("%q was used and scored", "paragraph"+number)
		}
	}
	if len(e.Corpora[0].Texts) == 0 || len(own) == 0 {
		t.Errorf("%d pieces scored, %d used", len(e.Corpora[0].Texts), len(own))
	}
}

// used are the pieces of a corpus that layers are chosen by, and what each of its
// whole paragraphs begins with.
func (b *bench) used(c plugin.Corpus) (pieces []string, begins map[string]bool) {
	b.t.Helper()
	r, err := read(c)
	if err != nil {
		b.t.Fatal(err)
	}
	begins = map[string]bool{}
	for _, d := range r.chosen.docs {
		pieces = append(pieces, d.Text)
		for paragraph := range strings.SplitSeq(strings.TrimSpace(d.Text), "\n\n") {
			begins[strings.Fields(paragraph)[0]] = true
		}
	}
	return pieces, begins
}

// TestUsedTextIsRemembered compares losses on one text and then on another. The first
// is still known after that, also of the model that was made, which has no folder of
// its own.
func TestUsedTextIsRemembered(t *testing.T) {
	b := newBench(t)
	c, texts := b.of(10)
	b.job.Selection.Criterion = "loss"
	b.job.Profile.Corpus = c
	made := b.mustPrune()
	b.job.Profile.Corpus = b.corpus(t.TempDir(), "later", "a later text", "to choose by")
	b.job.ID, b.job.Name, b.job.Folder = "2", "later", t.TempDir()
	b.mustPrune()
	clear(b.runs)
	for _, model := range []string{b.model.Name, made.Result.Name} {
		r := b.request()
		r.Model, r.Evaluate.Corpus = model, c
		e := b.mustEvaluate(r)
		if n := len(common(texts, b.scored(""))); n != 2 || len(e.Corpora[0].Texts) != 2 {
			t.Errorf("%s: %d of the 10 texts were scored, want the 2 held out", model, n)
		}
	}
}

// TestTheOtherModelsTextIsNotScored has text that only the other model's layers were
// chosen by.
func TestTheOtherModelsTextIsNotScored(t *testing.T) {
	b := newBench(t)
	made := b.mustPrune()
	c, _ := b.of(10)
	own, err := read(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := noteUsed(plugin.ProfileFolder(b.job.Profile.Folder, made.Result.Digest), own.chosen.docs); err != nil {
		t.Fatal(err)
	}
	r := b.request()
	r.Other, r.Evaluate.Corpus = made.Result.Name, c
	if e := b.mustEvaluate(r); len(e.Corpora[0].Texts) != 2 {
		t.Errorf("%d of the 10 texts were scored, want the 2 held out", len(e.Corpora[0].Texts))
	}
}
