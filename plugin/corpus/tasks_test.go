package corpus

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTasksHoldEveryKind(t *testing.T) {
	kinds := byKind(Tasks())
	for _, kind := range []string{"everyday", "causes", "facts", "words", "reading", "arithmetic", "code", "languages"} {
		if n := len(kinds[kind]); n != 30 {
			t.Errorf("%s: %d questions, want 30", kind, n)
		}
		delete(kinds, kind)
	}
	if len(kinds) > 0 {
		t.Errorf("there are more kinds: %v", kinds)
	}
}

func TestFirstTasksAreOfEveryKind(t *testing.T) {
	tasks := Tasks()
	kinds := len(byKind(tasks))
	for i := 0; i+kinds <= len(tasks); i += kinds {
		if n := len(byKind(tasks[i : i+kinds])); n != kinds {
			t.Errorf("questions %d to %d are of %d kinds, want %d", i, i+kinds-1, n, kinds)
		}
	}
}

// Nobody may win by always taking the same place, or the longest choice.
func TestTasksGiveNothingAway(t *testing.T) {
	for kind, questions := range byKind(Tasks()) {
		var places [4]int
		longest, shortest := 0, 0
		for _, q := range questions {
			places[q.Answer]++
			byLength := func(a, b string) int { return utf8.RuneCountInString(a) - utf8.RuneCountInString(b) }
			right := q.Choices[q.Answer]
			if slices.MaxFunc(q.Choices, byLength) == right {
				longest++
			}
			if slices.MinFunc(q.Choices, byLength) == right {
				shortest++
			}
		}
		if slices.Min(places[:]) < 7 || slices.Max(places[:]) > 8 {
			t.Errorf("%s: the right answers stand at places %v, want 7 or 8 at each", kind, places)
		}
		if most := len(questions) / 2; longest > most || shortest > most {
			t.Errorf("%s: %d of %d right answers are the longest choice and %d the shortest, want at most %d", kind, longest, len(questions), shortest, most)
		}
	}
}

func TestTasksAreShortCleanText(t *testing.T) {
	contexts := make(map[string]bool)
	for _, q := range Tasks() {
		if contexts[q.Context] {
			t.Errorf("%s: asked twice: %q", q.Kind, q.Context)
		}
		contexts[q.Context] = true
		if len(q.Choices) != 4 {
			t.Errorf("%s: %d choices behind %q, want 4", q.Kind, len(q.Choices), q.Context)
		}
		if n := utf8.RuneCountInString(q.Context); n > 160 {
			t.Errorf("%s: context of %d characters: %q", q.Kind, n, q.Context)
		}
		shortest, longest := 1000, 0
		for _, c := range q.Choices {
			n := utf8.RuneCountInString(c)
			shortest, longest = min(shortest, n), max(longest, n)
			if !strings.HasPrefix(c, " ") && !strings.HasPrefix(c, "\n") {
				t.Errorf("%s: %q runs into its context %q", q.Kind, c, q.Context)
			}
		}
		if longest > 55 || longest > 2*shortest+4 {
			t.Errorf("%s: choices of %d to %d characters: %q", q.Kind, shortest, longest, q.Choices)
		}
		for _, r := range q.Context + strings.Join(q.Choices, "") {
			if r == utf8.RuneError || unicode.IsControl(r) && r != '\n' && r != '\t' {
				t.Errorf("%s: stray character %q in %q", q.Kind, r, q.Context)
			}
		}
	}
}

// What is scored must not have chosen the cut.
func TestTasksAndPromptsShareNoPhraseWithTrace(t *testing.T) {
	const n = 8
	traced := make(map[string]bool)
	for _, d := range Trace() {
		for _, phrase := range phrases(d.Text, n) {
			traced[phrase] = true
		}
	}
	asked := Prompts()
	for _, q := range Tasks() {
		for _, c := range q.Choices {
			asked = append(asked, q.Context+c)
		}
	}
	checked := 0
	for _, text := range asked {
		for _, phrase := range phrases(text, n) {
			checked++
			if traced[phrase] {
				t.Errorf("%q is traced", phrase)
			}
		}
	}
	if checked < 3000 {
		t.Errorf("only %d phrases were looked up", checked)
	}
}

func TestPrompts(t *testing.T) {
	prompts := Prompts()
	if len(prompts) != 24 {
		t.Errorf("%d prompts, want 24", len(prompts))
	}
	for i, p := range prompts {
		if slices.Contains(prompts[:i], p) {
			t.Errorf("asked twice: %q", p)
		}
		if strings.TrimSpace(p) != p || !utf8.ValidString(p) || utf8.RuneCountInString(p) < 15 || len(p) > 250 {
			t.Errorf("not a short clean text: %q", p)
		}
	}
	for what, pattern := range map[string]string{
		"code": "function", "a sum": "euros.*calculation", "a story": "story", "an explanation": "^Explain",
		"a rewrite": "^Rewrite", "extraction": "note", "German": "Welche", "Chinese": `\p{Han}`,
	} {
		matches := regexp.MustCompile(pattern).MatchString
		if !slices.ContainsFunc(prompts[:8], matches) {
			t.Errorf("the first 8 prompts do not ask for %s", what)
		}
	}
}

func TestDigestQuestions(t *testing.T) {
	if got := DigestQuestions(Tasks()); !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(got) || got != DigestQuestions(Tasks()) {
		t.Errorf("DigestQuestions(Tasks()) = %q, want the same sha256 each time", got)
	}
	q := Question{"k", "one", []string{" a", " b"}, 0}
	r := Question{"k", "two", []string{" a", " b"}, 0}
	seen := make(map[string]int)
	for i, questions := range [][]Question{
		nil, {q}, {q, q}, {q, r}, {r, q},
		{{"k", "one", []string{" a", " b"}, 1}}, {{"ko", "ne", []string{" a", " b"}, 0}},
		{{"k", "one a", []string{"", " b"}, 0}}, {{"k", "one", []string{" b", " a"}, 0}},
		{{"k", "one", []string{" a b"}, 0}}, {{"k", "one", []string{" a", " b", ""}, 0}},
	} {
		d := DigestQuestions(questions)
		if j, ok := seen[d]; ok {
			t.Errorf("lists %d and %d have the same digest", i, j)
		}
		seen[d] = i
	}
}

func byKind(questions []Question) map[string][]Question {
	m := make(map[string][]Question)
	for _, q := range questions {
		m[q.Kind] = append(m[q.Kind], q)
	}
	return m
}
