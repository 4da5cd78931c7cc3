package corpus

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestChunk(t *testing.T) {
	for _, tt := range []struct {
		what, text string
		max        int
		want       []string
	}{
		{"short", "One. Two.", 9, []string{"One. Two."}},
		{"no limit", "One. Two.", 0, []string{"One. Two."}},
		{"paragraph before sentence", "aaaa bb.\n\ncc. dd ee.", 16, []string{"aaaa bb.\n\n", "cc. dd ee."}},
		{"sentence before word", "aaaa bbbb. cc dd ee ff", 16, []string{"aaaa bbbb. ", "cc dd ee ff"}},
		{"closing quote", `He said "aaaa." cc dd ee`, 20, []string{`He said "aaaa." `, "cc dd ee"}},
		{"point in a number", "It is 3.14159 cm or so, I think", 16, []string{"It is 3.14159 ", "cm or so, I ", "think"}},
		{"line before word", "x := 1\ny := f(x)\nz := y", 20, []string{"x := 1\ny := f(x)\n", "z := y"}},
		{"a paragraph end too early to use", "a\n\nbbb ccc ddd eee", 12, []string{"a\n\nbbb ccc ", "ddd eee"}},
		{"one long word", "abcdefghij", 4, []string{"abcd", "efgh", "ij"}},
		{"Chinese", "天气很好。我们去公园。他说:“走吧!”她没有回答", 12, []string{"天气很好。我们去公园。", "他说:“走吧!”她没有回", "答"}},
		{"wide quotes", "他回答说:“我们走吧！”她笑了笑", 14, []string{"他回答说:“我们走吧！”", "她笑了笑"}},
	} {
		got := texts(Chunk([]Document{{"s", tt.text}}, tt.max))
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.what, got, tt.want)
		}
	}
}

func TestChunkKeepsDocumentsApart(t *testing.T) {
	got := Chunk([]Document{{"a", "one two three"}, {"b", "four"}}, 8)
	want := []Document{{"a", "one two "}, {"a", "three"}, {"b", "four"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChunkLosesNothing(t *testing.T) {
	for _, d := range slices.Concat(Trace(), Score()) {
		for _, limit := range []int{1, 7, 100, 600} {
			checkChunks(t, d.Text, limit)
		}
	}
}

// A piece of a long text is at least half full, so that few are too short to profile.
func TestChunksOfProseAreNotTiny(t *testing.T) {
	book := strings.Repeat("It rained, and nobody minded much. Then the sun came.\n\n", 400)
	chunks := Chunk([]Document{{"book", book}}, 300)
	for _, c := range chunks[:len(chunks)-1] {
		if n := utf8.RuneCountInString(c.Text); n < 150 || !strings.HasSuffix(c.Text, ".\n\n") {
			t.Fatalf("piece of %d characters ends with %q", n, c.Text[len(c.Text)-10:])
		}
	}
}

func FuzzChunk(f *testing.F) {
	f.Add("One. Two.\n\nThree", 5)
	f.Add("   天气。\"x\"!", 2)
	f.Add("\xff\xfe. \xff", 1)
	f.Fuzz(func(t *testing.T, text string, limit int) { checkChunks(t, text, limit) })
}

func checkChunks(t *testing.T, text string, limit int) {
	t.Helper()
	chunks := texts(Chunk([]Document{{"s", text}}, limit))
	if got := strings.Join(chunks, ""); got != text {
		t.Fatalf("limit %d: the pieces make %q, want %q", limit, got, text)
	}
	for _, c := range chunks {
		if n := utf8.RuneCountInString(c); limit > 0 && n > limit {
			t.Fatalf("limit %d: piece of %d characters", limit, n)
		}
		if c == "" && text != "" {
			t.Fatalf("limit %d: empty piece of %q", limit, text)
		}
		if utf8.ValidString(text) && !utf8.ValidString(c) {
			t.Fatalf("limit %d: character cut in half: %q", limit, c)
		}
	}
}
