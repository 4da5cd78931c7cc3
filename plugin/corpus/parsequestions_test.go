package corpus

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hellaSwagTask is one task in llama.cpp's format.
const hellaSwagTask = "Sailing: A man pulls at a rope. He\n2\nsings.\nsleeps.\nhoists the sail.\neats it.\n"

func TestParseQuestions(t *testing.T) {
	q := func(context string, answer int, choices ...string) Question {
		return Question{"file", context, choices, answer}
	}
	for _, tt := range []struct {
		what, data string
		want       []Question
	}{
		{"own format", `{"context":"A","choices":[" b"," c"],"answer":1,"id":7}`, []Question{q("A", 1, " b", " c")}},
		{
			"blank lines, CRLF and a byte order mark",
			"\ufeff\r\n" + `{"context":"A","choices":[" b"," c"],"answer":0}` + "\r\n\r\n" + `{"context":"D","choices":[" e"," f"," g"],"answer":2}` + "\r\n\r\n",
			[]Question{q("A", 0, " b", " c"), q("D", 2, " e", " f", " g")},
		},
		{"index in a string", `{"context":"A","choices":[" b"," c"],"answer":"1"}`, []Question{q("A", 1, " b", " c")}},
		{"letter", `{"context":"A","choices":[" x"," y"," z"],"answer":"C"}`, []Question{q("A", 2, " x", " y", " z")}},
		{"small letter", `{"context":"A","choices":[" x"," y"," z"],"answer":"b"}`, []Question{q("A", 1, " x", " y", " z")}},
		{"letter that is also the choice", `{"context":"A","choices":[" A"," B"],"answer":"B"}`, []Question{q("A", 1, " A", " B")}},
		{"the choice itself", `{"context":"A","choices":[" yes"," no"],"answer":"no"}`, []Question{q("A", 1, " yes", " no")}},
		{"number that can only be a choice", `{"context":"7+8=","choices":[" 15"," 56"],"answer":"56"}`, []Question{q("7+8=", 1, " 15", " 56")}},
		{"number beats the text of a choice", `{"context":"1+1=","choices":[" 1"," 0"," 2"],"answer":2}`, []Question{q("1+1=", 2, " 1", " 0", " 2")}},
		{"white space behind the context", `{"context":"A \n","choices":["b","  c"],"answer":0}`, []Question{q("A", 0, " \nb", " \n  c")}},
		{
			"sample with a list", `{"doc_id":0,"doc":{"q":"A"},"target":1,"arguments":[["A"," b"],["A"," c"]],"resps":[]}`,
			[]Question{q("A", 1, " b", " c")},
		},
		{
			"sample with names, more than ten",
			`{"doc":{},"target":"10","arguments":{"gen_args_10":{"arg_0":"A","arg_1":" k"},` + namedArguments("abcdefghij") + `}}`,
			[]Question{q("A", 10, " a", " b", " c", " d", " e", " f", " g", " h", " i", " j", " k")},
		},
		{"sample whose target is an index and a choice", `{"target":"0","arguments":[["A"," 1"],["A"," 0"]]}`, []Question{q("A", 0, " 1", " 0")}},
		{"sample whose target is a choice", `{"target":"no","arguments":[["A"," yes"],["A"," no"]]}`, []Question{q("A", 1, " yes", " no")}},
		{
			"sample that also scores the choices alone", `{"target":1,"arguments":[["A"," b"],["A"," c"],[""," b"],[""," c"]]}`,
			[]Question{q("A", 1, " b", " c")},
		},
		{
			"HellaSwag", hellaSwagTask + "He runs and\r\n0\r\nfalls.\r\nflies.\r\nfills.\r\nfeels.\r\n\r\n",
			[]Question{
				q("Sailing: A man pulls at a rope. He", 2, " sings.", " sleeps.", " hoists the sail.", " eats it."),
				q("He runs and", 0, " falls.", " flies.", " fills.", " feels."),
			},
		},
		{"HellaSwag that begins with a bracket", "[header] Knots\n1\na\nb\nc\nd", []Question{q("[header] Knots", 1, " a", " b", " c", " d")}},
	} {
		got, _, err := ParseQuestions("file", []byte(tt.data))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, %v, want %+v", tt.what, got, err, tt.want)
		}
	}
}

// namedArguments returns an argument of a sample for each letter.
func namedArguments(letters string) string {
	var args []string
	for i, r := range letters {
		args = append(args, `"gen_args_`+string(rune('0'+i))+`":{"arg_0":"A","arg_1":" `+string(r)+`"}`)
	}
	return strings.Join(args, ",")
}

func TestParseQuestionsRefuses(t *testing.T) {
	good := `{"context":"A","choices":[" b"," c"],"answer":1}` + "\n"
	sample := func(target, arguments string) string {
		return `{"doc":{},"target":` + target + `,"arguments":` + arguments + `}`
	}
	for _, tt := range []struct {
		what, data string
		want       string // in the error
	}{
		{"nothing", "", `it holds no questions; write one on each line: {"context"`},
		{"white space", " \r\n\n", "it holds no questions"},
		{"NUL", good + "a\x00", "line 2: byte 1 is NUL"},
		{"Latin-1", good + "\n" + "caf\xe9", "line 3: byte 3 (0xe9) is not UTF-8"},
		{"cut line", good + "\n" + `{"context":"A","cho`, "line 3: unexpected end of JSON input; put one whole JSON object"},
		{"JSON over many lines", "{\n\"context\": \"A\"\n}", "line 1: unexpected end"},
		{"array on a line", good + `["A"]`, "line 2: a JSON array is not a question"},
		{"no context", good + `{"choices":[" b"," c"],"answer":1}`, `line 2: there is no "context"; write {`},
		{"empty context", `{"context":" \n","choices":[" b"," c"],"answer":1}`, "line 1: the context is empty"},
		{"context is a number", `{"context":1}`, `line 1: "context" holds a JSON number`},
		{"no choices", `{"context":"A","answer":1}`, `line 1: there are no "choices"`},
		{"one choice", `{"context":"A","choices":[" b"],"answer":"A"}`, "line 1: there are too few choices (1)"},
		{"choices are numbers", `{"context":"A","choices":[1,2],"answer":1}`, `line 1: "choices" holds a JSON number`},
		{"empty choice", `{"context":"A","choices":[" b"," "],"answer":0}`, "line 1: choice 1 is empty"},
		{"equal choices", `{"context":"A","choices":[" b"," c"," b"],"answer":0}`, `line 1: choices 0 and 2 are equal (" b")`},
		{"NUL in the context", `{"context":"A\u0000","choices":[" b"," c"],"answer":0}`, "line 1: the context holds a NUL"},
		{"NUL in a choice", `{"context":"A","choices":[" b"," c\u0000"],"answer":0}`, "line 1: choice 1 holds a NUL"},
		{"no answer", `{"context":"A","choices":[" b"," c"]}`, `line 1: there is no "answer"`},
		{"null answer", `{"context":"A","choices":[" b"," c"],"answer":null}`, `line 1: there is no "answer"`},
		{"answer counted from 1", `{"context":"A","choices":[" b"," c"],"answer":2}`, "line 1: answer 2 is out of range; the choices count from 0, so give 0 to 1"},
		{"negative answer", `{"context":"A","choices":[" b"," c"],"answer":-1}`, "line 1: answer -1 is out of range"},
		{"broken answer", `{"context":"A","choices":[" b"," c"],"answer":0.5}`, `line 1: "answer" is 0.5, which is not a whole number`},
		{"answers", `{"context":"A","choices":[" b"," c"],"answer":[0]}`, `line 1: "answer" is [0], which is not a whole number`},
		{"unknown answer", `{"context":"A","choices":[" x"," y"],"answer":"D"}`, `line 1: "answer" is "D", which is no choice`},
		{"empty answer", `{"context":"A","choices":[" x"," y"],"answer":""}`, `line 1: "answer" is "", which is no choice`},
		{"answer with two meanings", `{"context":"1+0=","choices":[" 1"," 0"],"answer":"1"}`, `line 1: "answer" is "1", which may mean choice 1 or choice 0`},
		{"letter with two meanings", `{"context":"A","choices":[" B"," A"],"answer":"A"}`, `line 1: "answer" is "A", which may mean choice 0 or choice 1`},
		{"sample without target", `{"arguments":[["A"," b"],["A"," c"]]}`, `line 1: there is no "target"`},
		{"sample of generation", sample(`"x"`, `{"gen_args_0":{"arg_0":"A","arg_1":{"until":["\n"]}}}`), "line 1: argument 0 is not a context and a continuation"},
		{"sample of one string", sample(`"x"`, `[["A"]]`), "line 1: argument 0 is not a context and a continuation"},
		{"sample of other names", sample("0", `{"a":{"arg_0":"A","arg_1":" b"}}`), "line 1: there is no gen_args_0"},
		{"sample of text", sample("0", `"A"`), "line 1: the arguments are of another shape"},
		{"sample with two contexts", sample("0", `[["A"," x"],["B"," x"]]`), "line 1: argument 1 has a context of its own"},
		{"sample with one choice", sample("0", `[["A"," x"]]`), "line 1: there are too few choices (1)"},
		{"sample with equal choices", sample("0", `[["A"," x"],["A"," x"]]`), "line 1: choices 0 and 1 are equal"},
		{"sample with two targets", sample(`"[0, 1]"`, `[["A"," x"],["A"," y"]]`), `line 1: "target" is "[0, 1]", which is no choice`},
		{"prose", "Once upon a time\nthere was a king.\n", "line 2: this is neither JSON lines nor HellaSwag's text"},
		{"one line of prose", "Once upon a time", "line 1: this is neither"},
		{"HellaSwag cut short", hellaSwagTask + "He runs and\n0\nfalls.\n", "line 9: the last task breaks off after 3 of 6 lines"},
		{"HellaSwag with a line missing", strings.Replace(hellaSwagTask, "sings.\n", "", 1) + hellaSwagTask, `line 8: "sings." is not a number, so a line is missing`},
		{"HellaSwag with an empty ending", strings.Replace(hellaSwagTask, "sleeps.", " ", 1), "line 4: ending 1 is empty"},
		{"HellaSwag with equal endings", strings.Replace(hellaSwagTask, "sleeps.", "sings.", 1), "lines 1-6: choices 0 and 1 are equal"},
		{"equal choices and no answer", good + `{"context":"A","choices":[" b"," b"],"answer":7}`, "line 2: answer 7 is out of range"},
		{"HellaSwag out of range", strings.Replace(hellaSwagTask, "2", "4", 1), "lines 1-6: answer 4 is out of range"},
	} {
		got, _, err := ParseQuestions("", []byte(tt.data))
		if err == nil {
			t.Errorf("%s: no error, got %+v", tt.what, got)
			continue
		}
		if msg := err.Error(); !strings.HasPrefix(msg, "read questions questions: ") || !strings.Contains(msg, tt.want) {
			t.Errorf("%s: error is %q, want %q in it", tt.what, msg, tt.want)
		}
	}
}

// A question that nobody can answer does not cost the others.
func TestParseQuestionsLeavesOut(t *testing.T) {
	good, equal := `{"context":"A","choices":[" b"," c"],"answer":1}`+"\n", `{"context":"A","choices":[" b"," b"," c"],"answer":2}`+"\n"
	for what, data := range map[string]string{
		"JSON lines": equal + good + equal,
		"HellaSwag":  strings.Replace(hellaSwagTask, "sleeps.", "sings.", 1) + hellaSwagTask + strings.Replace(hellaSwagTask, "sleeps.", "sings.", 1),
	} {
		if got, leftOut, err := ParseQuestions("file", []byte(data)); err != nil || len(got) != 1 || leftOut != 2 {
			t.Errorf("%s: got %+v without %d, %v", what, got, leftOut, err)
		}
	}
}

// A file that says it holds JSON lines is read as such, whatever its first line.
func TestParseQuestionsGoesByTheName(t *testing.T) {
	_, _, err := ParseQuestions("quiz.jsonl", []byte("What is it?\n0\na\nb\nc\nd\n"))
	if err == nil || !strings.Contains(err.Error(), "read questions quiz.jsonl: line 1: invalid character") {
		t.Errorf("error is %v, want one that names line 1 of quiz.jsonl", err)
	}
}

// Whatever the bytes, the outcome is an error or questions that can be asked.
func FuzzParseQuestions(f *testing.F) {
	for _, s := range []string{
		hellaSwagTask, hellaSwagTask[:30], "\ufeff" + hellaSwagTask,
		`{"context":"A ","choices":[" b"," c"],"answer":1}` + "\n" + `{"context":"A","choices":["b","c"],"answer":"B"}`,
		`{"context":"A","choices":[" 1"," 0"],"answer":"1"}`,
		`{"doc":{},"target":"1","arguments":[["A\n"," b"],["A\n"," c"],[""," b"],[""," c"]]}`,
		`{"target":0,"arguments":{"gen_args_0":{"arg_0":"A","arg_1":" b"},"gen_args_1":{"arg_0":"A","arg_1":" c"}}}`,
		`{"context":null,"choices":[null,null],"answer":-1e9}`, "\xff", "x\n1",
	} {
		f.Add("x", []byte(s))
		f.Add("x.jsonl", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		questions, _, err := ParseQuestions(name, data)
		if err != nil {
			if questions != nil {
				t.Fatal("questions beside an error")
			}
			return
		}
		if len(questions) == 0 {
			t.Fatal("neither questions nor an error")
		}
		for _, q := range questions {
			checkQuestion(t, q)
		}
	})
}

func checkQuestion(t *testing.T, q Question) {
	if q.Context == "" || strings.TrimRightFunc(q.Context, unicode.IsSpace) != q.Context {
		t.Fatalf("context %q is empty or ends in white space", q.Context)
	}
	if len(q.Choices) < 2 || q.Answer < 0 || q.Answer >= len(q.Choices) {
		t.Fatalf("answer %d of %d choices", q.Answer, len(q.Choices))
	}
	for i, c := range q.Choices {
		if strings.TrimSpace(c) == "" || slices.Contains(q.Choices[:i], c) {
			t.Fatalf("choice %q is empty or there before", c)
		}
	}
	if all := q.Context + strings.Join(q.Choices, ""); !utf8.ValidString(all) || strings.ContainsRune(all, 0) {
		t.Fatalf("unclean text %q", all)
	}
}
