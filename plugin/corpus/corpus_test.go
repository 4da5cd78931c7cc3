package corpus

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPartsHaveTheSameStyles(t *testing.T) {
	trace, score := byStyle(Trace()), byStyle(Score())
	for style := range trace {
		if len(score[style]) == 0 {
			t.Errorf("style %q is traced but never scored", style)
		}
	}
	for style := range score {
		if len(trace[style]) == 0 {
			t.Errorf("style %q is scored but never traced", style)
		}
	}
	for _, style := range []string{
		"narrative", "exposition", "news", "dialogue", "instructions", "questions", "arithmetic", "code", "tables",
		"letters", "reviews", "abstract", "manual", "german", "french", "spanish", "chinese", "portuguese",
	} {
		if len(trace[style]) == 0 {
			t.Errorf("no document in style %q", style)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, part := range []struct {
		name     string
		docs     []Document
		min, max int // bytes in all
	}{
		{"trace", Trace(), 36 << 10, 41 << 10},
		{"score", Score(), 14 << 10, 16 << 10},
	} {
		total := 0
		for _, d := range part.docs {
			total += len(d.Text)
			low, high := 700, 2200
			if d.Style == "chinese" { // a character says about as much as four letters
				low, high = low/4, high/4
			}
			if n := utf8.RuneCountInString(d.Text); n < low || n > high {
				t.Errorf("%s/%s: document of %d characters, want %d to %d", part.name, d.Style, n, low, high)
			}
		}
		if total < part.min || total > part.max {
			t.Errorf("%s: %d bytes, want %d to %d", part.name, total, part.min, part.max)
		}
	}
}

func TestEveryPrefixIsMixed(t *testing.T) {
	for name, docs := range map[string][]Document{"trace": Trace(), "score": Score()} {
		share := byStyle(docs)
		seen := make(map[string]float64)
		for i, d := range docs {
			if i > 0 && docs[i-1].Style == d.Style {
				t.Errorf("%s: two %s documents in a row", name, d.Style)
			}
			seen[d.Style]++
			for style, all := range share {
				due := float64(len(all)) * float64(i+1) / float64(len(docs))
				if off := seen[style] - due; off > 1.2 || off < -1.2 {
					t.Errorf("%s: first %d documents hold %v of %s, want about %.1f", name, i+1, seen[style], style, due)
				}
			}
		}
	}
}

func TestDocumentsAreCleanText(t *testing.T) {
	starts := make(map[string]string)
	for _, d := range slices.Concat(Trace(), Score()) {
		if strings.TrimSpace(d.Text) != d.Text {
			t.Errorf("%s: white space around %.30q", d.Style, d.Text)
		}
		for i, r := range d.Text {
			if r == utf8.RuneError || r == '\r' || unicode.IsControl(r) && r != '\n' && r != '\t' {
				t.Errorf("%s: stray character %q at byte %d of %.30q", d.Style, r, i, d.Text)
			}
		}
		if slices.Contains(strings.Split(d.Text, "\n"), "---") {
			t.Errorf("%s: separator left inside %.30q", d.Style, d.Text)
		}
		start := strings.Join(words(d.Text)[:3], " ")
		if other, ok := starts[start]; ok {
			t.Errorf("two documents (%s, %s) begin with %q", other, d.Style, start)
		}
		starts[start] = d.Style
	}
}

// Repeated text would teach a profile what the model does when it copies.
func TestNoLongLineOccursTwice(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range slices.Concat(Trace(), Score()) {
		for line := range strings.Lines(d.Text) {
			line = strings.TrimSpace(line)
			if utf8.RuneCountInString(line) < 40 {
				continue
			}
			if seen[line] {
				t.Errorf("%s: line occurs twice: %q", d.Style, line)
			}
			seen[line] = true
		}
	}
}

func TestScoreSharesNoPhraseWithTrace(t *testing.T) {
	const n = 8
	traced := make(map[string]bool)
	for _, d := range Trace() {
		for _, phrase := range phrases(d.Text, n) {
			traced[phrase] = true
		}
	}
	if len(traced) < 4000 {
		t.Fatalf("only %d phrases are traced", len(traced))
	}
	for _, d := range Score() {
		for _, phrase := range phrases(d.Text, n) {
			if traced[phrase] {
				t.Errorf("%s: %q is in both parts", d.Style, phrase)
			}
		}
	}
}

func TestDigest(t *testing.T) {
	if got := Digest(); !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(got) || got != Digest() {
		t.Errorf("Digest() = %q, want the same sha256 each time", got)
	}
	a, b := Document{"x", "one"}, Document{"x", "two"}
	corpora := [][2][]Document{
		{{a, b}, nil}, {{b, a}, nil}, {{a}, {b}}, {nil, {a, b}}, {{a}, nil},
		{{{"x", "onetwo"}}, nil}, {{{"xo", "netwo"}}, nil}, {nil, nil},
	}
	seen := make(map[string]int)
	for i, c := range corpora {
		d := DigestOf(c[0], c[1])
		if j, ok := seen[d]; ok {
			t.Errorf("corpora %d and %d have the same digest", i, j)
		}
		seen[d] = i
	}
}

func TestCallersOwnWhatTheyGet(t *testing.T) {
	before := Digest()
	Trace()[0].Text = "changed"
	if Digest() != before {
		t.Error("a caller changed the corpus for everyone")
	}
}

func byStyle(docs []Document) map[string][]Document {
	m := make(map[string][]Document)
	for _, d := range docs {
		m[d.Style] = append(m[d.Style], d)
	}
	return m
}

func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

func phrases(text string, n int) []string {
	w := words(text)
	var all []string
	for i := 0; i+n <= len(w); i++ {
		all = append(all, strings.Join(w[i:i+n], " "))
	}
	return all
}
