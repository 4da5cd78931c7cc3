package evaluate

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestAgainstSacrebleu holds chrF and BLEU to what sacrebleu says of the same
// texts; testdata/sacrebleu.py made the golden file.
func TestAgainstSacrebleu(t *testing.T) {
	data, err := os.ReadFile("testdata/sacrebleu.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name                string
		Answers, References []string
		ChrF, BLEU          float64
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 15 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		if got := ChrF(c.Answers, c.References); math.Abs(got-c.ChrF) > 0.01 {
			t.Errorf("%s: chrF %.3f, want %.3f", c.Name, got, c.ChrF)
		}
		if got := BLEU(c.Answers, c.References); math.Abs(got-c.BLEU) > 0.01 {
			t.Errorf("%s: BLEU %.3f, want %.3f", c.Name, got, c.BLEU)
		}
	}
}

func TestTokens(t *testing.T) {
	for text, want := range map[string][]string{
		"It's 3.5, e-mail (me).": {"It's", "3.5", ",", "e-mail", "(", "me", ")", "."},
		"pages 12-14":            {"pages", "12", "-", "14"},
		"今天 AI很好。":               {"今", "天", "AI", "很", "好", "。"},
		" \n\t":                  nil,
	} {
		if got := tokens(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got, want := words("It's, (me) 今天好"), []string{"It's,", "(me)", "今", "天", "好"}; !reflect.DeepEqual(got, want) {
		t.Errorf("words %q, want %q", got, want)
	}
}

func TestRepetition(t *testing.T) {
	for _, c := range []struct {
		answers []string
		want    float64
	}{
		{[]string{"one two three four five six"}, 0},
		{[]string{"a b c d a b c d"}, 1.0 / 5},
		{[]string{"go go go go go go go"}, 3.0 / 4},
		{[]string{"好好好好好好好"}, 3.0 / 4},
		{[]string{"a b c d", "a b c d"}, 0}, // not within the same answer
		{[]string{"too short", ""}, 0},
		{nil, 0},
	} {
		near(t, fmt.Sprint(c.answers), Repetition(c.answers), c.want)
	}
}

func TestLanguageChanged(t *testing.T) {
	const (
		english    = "The sun warms the sea, and that is how the wind begins: it is the air that moves to where it is warm."
		german     = "Die Sonne wärmt das Meer, und so entsteht der Wind: es ist die Luft, die sich zu den warmen Orten bewegt."
		french     = "Le soleil chauffe la mer, et le vent se lève : c'est l'air qui va vers les endroits chauds dans le jour."
		spanish    = "El sol calienta el mar y así nace el viento: es el aire que se mueve hacia los lugares más cálidos del día."
		portuguese = "O sol aquece o mar, e assim nasce o vento: é o ar que não fica parado e vai para os lugares mais quentes."
		chinese    = "太阳晒热了海面,风就这样产生了:空气流向温暖的地方。"
		shortCJK   = "海面变热,空气流动。"
		japanese   = "太陽が海を温めると、空気が動いて風になります。"
		russian    = "Солнце греет море, и так рождается ветер: воздух движется туда, где тепло."
		code       = "def wind(sea):\n    for wave in sea.waves:\n        if wave.is_high and not wave.is_old:\n            return wave.height * 2\n    return None"
	)
	all := []string{english, german, french, spanish, portuguese, chinese, japanese, russian}
	for i, before := range all {
		for j, after := range all {
			if got := languageChanged(before, after); got != (i != j) {
				t.Errorf("%q to %q: %v", before, after, got)
			}
		}
	}
	if !languageChanged(english, shortCJK) {
		t.Errorf("%q says as much as a sentence in letters", shortCJK)
	}
	for _, c := range [][2]string{
		{"42", german}, {"Ja, das ist der Hund.", "Yes."}, {english, ""}, {english, "Madrid, Lima, Quito, Bogotá, Caracas"},
		{german, code}, {german, "```\n" + english + "\n```"}, {chinese, "print(1)"}, {chinese, chinese + " GPU, CPU, RAM"},
		{"Es sind vier, und das ist nicht the end of the list.", english}, {english, "In German: " + german[:40] + english},
	} {
		if languageChanged(c[0], c[1]) || languageChanged(c[1], c[0]) {
			t.Errorf("%q to %q: not clear enough to count", c[0], c[1])
		}
	}
}

func TestGenerationShowsTheMiddle(t *testing.T) {
	const before = "the night train left the harbour at ten"
	prompts := []string{"best", "low", "middle", "worst", "high"}
	after := []string{before, "the night boat", "the night train left a town", "zzz qqq", "the night train left the harbour at six"}
	befores := []string{before, before, before, before, before}
	g := Generation(prompts, befores, after, 3)
	var shown []string
	for _, s := range g.Samples {
		shown = append(shown, s.Prompt)
	}
	if !reflect.DeepEqual(shown, []string{"low", "middle", "high"}) {
		t.Errorf("shows %v", shown)
	}
	if s := g.Samples[0]; s.Before != before || s.After != "the night boat" {
		t.Errorf("%+v", s)
	}
	if g.Prompts != 5 || g.ChrF != ChrF(after, befores) || g.BLEU != BLEU(after, befores) {
		t.Errorf("%+v", g)
	}
	if n := len(Generation(prompts, befores, after, 9).Samples); n != 5 {
		t.Errorf("%d samples of 5", n)
	}
	same := Generation(prompts, befores, befores, 0)
	if math.Abs(same.ChrF-100) > 1e-9 || math.Abs(same.BLEU-100) > 1e-9 || same.LanguageChanged != 0 || same.Samples != nil {
		t.Errorf("the same answers: %+v", same)
	}
	if Generation(nil, nil, nil, 3) != nil {
		t.Error("no prompts, yet a comparison")
	}
}

func TestFunctionWordsTellLanguagesApart(t *testing.T) {
	keywords := " and as break case class do else false for from func if import in is let new nil not null or return true try var while with "
	seen := map[string]string{}
	for language, list := range functionWords {
		for _, word := range strings.Fields(list) {
			if seen[word] != "" || strings.Contains(keywords, " "+word+" ") {
				t.Errorf("%s: %q is also in %q or a keyword", language, word, seen[word])
			}
			seen[word] = language
		}
	}
}
