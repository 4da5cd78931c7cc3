package evaluate

import (
	"strings"
	"unicode"
)

// What it takes to name the script or language of an answer. Short answers and
// code stay unnamed, and unnamed answers never count as changed.
const (
	enoughLetters = 20  // in the script
	dominant      = 0.6 // share of the letters that must be in it
	enoughVotes   = 3   // function words of the language
)

// alphabets are the scripts that are told apart. Japanese is known by its kana,
// which no text in Han characters alone has.
var alphabets = []struct {
	name   string
	tables []*unicode.RangeTable
	weight int // letters of an alphabet that one character says as much as
}{
	{"latin", []*unicode.RangeTable{unicode.Latin}, 1},
	{"han", []*unicode.RangeTable{unicode.Han}, 4},
	{"kana", []*unicode.RangeTable{unicode.Hiragana, unicode.Katakana}, 4},
	{"hangul", []*unicode.RangeTable{unicode.Hangul}, 3},
	{"cyrillic", []*unicode.RangeTable{unicode.Cyrillic}, 1},
	{"greek", []*unicode.RangeTable{unicode.Greek}, 1},
	{"arabic", []*unicode.RangeTable{unicode.Arabic}, 1},
	{"hebrew", []*unicode.RangeTable{unicode.Hebrew}, 1},
	{"devanagari", []*unicode.RangeTable{unicode.Devanagari}, 1},
	{"thai", []*unicode.RangeTable{unicode.Thai}, 1},
}

// functionWords are frequent words of languages in Latin script, none of which
// is in two of the lists.
var functionWords = map[string]string{
	"english":    "the of to that this are was were it its you they have has had be which their his her what how when can will would",
	"german":     "der die das und ist nicht ein eine einen einem einer zu mit von den dem im auf für sich dass auch wird sind ich wir oder",
	"french":     "le les est et une du dans pour qui pas sur ce cette elle sont avec au aux nous vous je ils ont être",
	"spanish":    "el los las y del por para su sus más pero como muy también está esta este son hay ser",
	"portuguese": "os não uma é da dos em um ao à você também são muito seu sua pelo isso",
	"italian":    "gli di che è della delle nel nella sono più anche questo questa perché ma dei ha alla",
	"dutch":      "het een van dat zijn voor op ook wordt niet deze worden naar bij maar door aan er ik wij",
}

var languageOf = func() map[string]string {
	languages := map[string]string{}
	for language, list := range functionWords {
		for _, word := range strings.Fields(list) {
			languages[word] = language
		}
	}
	return languages
}()

// languageChanged reports whether both answers are clearly in a script, and it
// is another one, or both in Latin script and clearly in different languages.
func languageChanged(before, after string) bool {
	before, after = withoutCode(before), withoutCode(after)
	was, is := script(before), script(after)
	if was == "" || is == "" {
		return false
	}
	if was == "latin" && is == "latin" {
		was, is = latinLanguage(before), latinLanguage(after)
	}
	return was != "" && is != "" && was != is
}

// script names the script of most letters of a text, or is "" if there are too
// few of them or no script has enough. Han counts as kana in a text of which a
// tenth is kana, as Japanese is.
func script(text string) string {
	counts := make([]int, len(alphabets))
	letters := 0
	for _, r := range text {
		if !unicode.IsLetter(r) {
			continue
		}
		weight := 1
		for i, a := range alphabets {
			if unicode.In(r, a.tables...) {
				weight = a.weight
				counts[i] += weight
				break
			}
		}
		letters += weight
	}
	const han, kana = 1, 2
	if 10*counts[kana] > counts[han] {
		counts[kana] += counts[han]
		counts[han] = 0
	}
	for i, n := range counts {
		if n >= enoughLetters && float64(n) >= dominant*float64(letters) {
			return alphabets[i].name
		}
	}
	return ""
}

// latinLanguage is the language with most function words in the text, or "" if
// they are few or another language has more than half as many.
func latinLanguage(text string) string {
	votes := map[string]int{}
	for _, word := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
		if language := languageOf[word]; language != "" {
			votes[language]++
		}
	}
	first, best, second := "", 0, 0
	for language, n := range votes {
		if n > best {
			first, best, second = language, n, best
		} else {
			second = max(second, n)
		}
	}
	if best < enoughVotes || 2*second > best {
		return ""
	}
	return first
}

// withoutCode drops what stands between fences of three backquotes.
func withoutCode(text string) string {
	var out strings.Builder
	for i, part := range strings.Split(text, "```") {
		if i%2 == 0 {
			out.WriteString(part)
		}
	}
	return out.String()
}
