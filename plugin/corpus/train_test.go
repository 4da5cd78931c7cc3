package corpus

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTrainPromptsAreCleanAndDifferent(t *testing.T) {
	prompts := TrainPrompts()
	if len(prompts) != 320 {
		t.Errorf("%d prompts, want 320", len(prompts))
	}
	seen := make(map[string]bool)
	for _, p := range prompts {
		key := strings.Join(words(p), " ")
		if seen[key] {
			t.Errorf("asked twice: %q", p)
		}
		seen[key] = true
		if strings.TrimSpace(p) != p || !utf8.ValidString(p) || utf8.RuneCountInString(p) < 12 || len(p) > 450 {
			t.Errorf("not a short clean text: %q", p)
		}
		for _, r := range p {
			if r == utf8.RuneError || unicode.IsControl(r) && r != '\n' && r != '\t' {
				t.Errorf("stray character %q in %q", r, p)
			}
		}
		if strings.Contains(p, "---") {
			t.Errorf("separator left inside %q", p)
		}
	}
}

func TestOpeningsAreCleanAndDifferent(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Openings() {
		if seen[o] || strings.TrimSpace(o) != o || !utf8.ValidString(o) || utf8.RuneCountInString(o) < 5 || len(o) > 100 {
			t.Errorf("not a new, short and clean text: %q", o)
		}
		seen[o] = true
	}
	if len(seen) != 126 {
		t.Errorf("%d openings, want 126", len(seen))
	}
}

// What a repair is judged by must not have been in what it learned from, nor may it
// learn from what chose the cut.
func TestTrainPromptsShareNoPhraseWithOtherText(t *testing.T) {
	other := make(map[string]bool)
	note := func(text string) {
		for _, phrase := range shingles(text) {
			other[phrase] = true
		}
	}
	for _, d := range slices.Concat(Trace(), Score()) {
		note(d.Text)
	}
	for _, p := range Prompts() {
		note(p)
	}
	for _, q := range Tasks() {
		for _, c := range q.Choices {
			note(q.Context + c)
		}
	}
	if len(other) < 10000 {
		t.Fatalf("only %d phrases to compare with", len(other))
	}
	for _, p := range slices.Concat(TrainPrompts(), Openings()) {
		for _, phrase := range shingles(p) {
			if other[phrase] {
				t.Errorf("%q of %q is traced or scored", phrase, p)
			}
		}
	}
}

// shingles are a text's runs of five words. Chinese and Japanese have no spaces, so
// there a run is of eight characters.
func shingles(text string) []string {
	all := phrases(text, 5)
	var wide []rune
	for _, r := range text + " " {
		if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) {
			wide = append(wide, r)
			if len(wide) >= 8 {
				all = append(all, string(wide[len(wide)-8:]))
			}
			continue
		}
		wide = wide[:0]
	}
	return all
}

// The first prompts are all that a short repair takes.
func TestFirstTrainPromptsAreMixed(t *testing.T) {
	entries, err := trainFiles.ReadDir("train")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 28 {
		t.Errorf("%d kinds, want 28", len(entries))
	}
	prompts := TrainPrompts()
	for _, e := range entries {
		data, err := trainFiles.ReadFile("train/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		own := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n---\n")
		seen := 0.0
		for i, p := range prompts {
			if slices.Contains(own, p) {
				seen++
			}
			due := float64(len(own)*(i+1)) / float64(len(prompts))
			if seen < due-1.2 || seen > due+1.2 {
				t.Errorf("%s: %v of the first %d prompts, want about %.1f", e.Name(), seen, i+1, due)
				break
			}
		}
	}
}
