package lessons

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pare/plugin"
)

// said makes a chat of turns such as "user: Hi".
func said(turns ...string) Lesson {
	var l Lesson
	for _, t := range turns {
		role, content, _ := strings.Cut(t, ": ")
		l.Chat = append(l.Chat, plugin.Message{Role: role, Content: content})
	}
	return l
}

func TestParse(t *testing.T) {
	hello := said("user: Hi", "assistant: Hello")
	for _, tt := range []struct {
		what, name, data string
		want             []Lesson
	}{
		{"plain text", "notes.txt", "\ufeffOne.\r\n\r\nTwo.\n", []Lesson{{Text: "One.\n\nTwo."}}},
		{"text per line", "", `{"text":"One"}` + "\n\n" + `{"text":" T\r\nwo "}`, []Lesson{{Text: "One"}, {Text: "T\nwo"}}},
		{"blank text between others", "", `{"text":"One"}` + "\n" + `{"text":" \n"}` + "\n" + `{"text":"Two"}`, []Lesson{{Text: "One"}, {Text: "Two"}}},
		{"messages", "", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello\n"}]}`, []Lesson{hello}},
		{
			"a longer chat", "",
			`{"messages":[{"role":"System","content":"Be brief"},{"role":"user","content":"1?"},{"role":"assistant","content":"2"},{"role":"user","content":"3?"},{"role":"assistant","content":"4"}]}`,
			[]Lesson{said("system: Be brief", "user: 1?", "assistant: 2", "user: 3?", "assistant: 4")},
		},
		{"blank system message", "", `{"messages":[{"role":"system","content":""},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}`, []Lesson{hello}},
		{"nothing is learnt behind the last answer", "", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},{"role":"user","content":"Bye"}]}`, []Lesson{hello}},
		{"chat of blank messages beside another", "", `{"messages":[]}` + "\n" + `{"prompt":" ","completion":""}` + "\n" + `{"prompt":"Hi","completion":"Hello"}`, []Lesson{hello}},
		{"conversations", "", `{"id":1,"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Hello"}]}`, []Lesson{hello}},
		{"conversations with roles", "", `{"conversations":[{"role":"user","content":"Hi"},{"role":"model","content":"Hello"}]}`, []Lesson{hello}},
		{"prompt and completion", "", `{"prompt":"Hi","completion":" Hello"}`, []Lesson{hello}},
		{"prompt and response", "", `{"prompt":"Hi","response":"Hello"}`, []Lesson{hello}},
		{"instruction", "", `{"instruction":"Hi","input":"","output":"Hello"}`, []Lesson{hello}},
		{"instruction with input", "", `{"instruction":"Add.","input":"1, 2","output":"3"}`, []Lesson{said("user: Add.\n\n1, 2", "assistant: 3")}},
		{"all in one array", "data.json", "[\n" + `{"text":"One"},` + "\n" + `{"prompt":"Hi","completion":"Hello"}` + "\n]", []Lesson{{Text: "One"}, hello}},
		{"prose in brackets", "", "[Enter a ghost]\nBoo.", []Lesson{{Text: "[Enter a ghost]\nBoo."}}},
	} {
		got, err := Parse(tt.name, []byte(tt.data))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %q and error %v, want %q", tt.what, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := `{"text":"One"}` + "\n"
	for _, tt := range []struct{ what, name, data, want string }{
		{"nothing", "a.txt", "", "nothing to learn from; give"},
		{"white space", "a.jsonl", "\ufeff \n", "nothing to learn from; give"},
		{"only blank records", "a.jsonl", `{"text":""}`, "nothing to learn from; give"},
		{"empty array", "a.json", `[]`, "nothing to learn from; give"},
		{"NUL", "a.txt", "ab\x00c", "byte 2 is NUL"},
		{"Latin-1", "a.txt", "caf\xe9", "byte 3 (0xe9) is not UTF-8"},
		{"cut line", "a.jsonl", good + "\n" + `{"text":"Tw`, "line 3: unexpected end"},
		{"cut array", "a.json", "[" + good + ",", "line 2: the file ends"},
		{"prose in JSON lines", "a.jsonl", "Once upon a time", "line 1: invalid character"},
		{"text in an array", "a.json", `["One"]`, "line 1: a JSON string is not a document; write"},
		{"number for text", "a.jsonl", good + `{"text":7}`, `line 2: "text" is a JSON number; write`},
		{"content in parts", "a.jsonl", `{"messages":[{"role":"user","content":[]}]}`, `line 1: "messages.content" is a JSON array`},
		{"no content", "", good + `{"messages":[{"role":"assistant","content":null}]}`, `line 2: message 1 has no "content"; give`},
		{"no role", "", `{"messages":[{"role":"user","content":"a"},{"content":"b"}]}`, `line 1: message 2 has no "role"; give`},
		{"unknown role", "", `{"messages":[{"role":"user","content":"a"},{"role":"tool","content":"b"}]}`, `line 1: message 2 is by "tool"; chats`},
		{"no answer", "", good + `{"messages":[{"role":"user","content":"a"}]}`, "line 2: the chat has no answer of the assistant"},
		{"blank answer", "", `{"prompt":"Why?","completion":" "}`, "line 1: the chat has no answer of the assistant"},
		{"prompt alone", "", good + `{"prompt":"Why?"}`, "line 2: the object holds nothing to learn from; write"},
		{"instruction alone", "", `{"instruction":"Add.","input":"1"}`, "line 1: the object holds nothing to learn from; write"},
		{"other keys", "", good + `{"body":"One"}`, "line 2: the object holds nothing"},
		{"escaped NUL", "", good + `{"text":"a\u0000"}`, "line 2: the text holds a NUL"},
		{"NUL in a chat", "", `{"prompt":"a\u0000","completion":"b"}`, "line 1: the text holds a NUL"},
		{"NUL in a system message", "", `{"messages":[{"role":"system","content":"a\u0000"},{"role":"assistant","content":"b"}]}`, "line 1: the text holds a NUL"},
	} {
		got, err := Parse(tt.name, []byte(tt.data))
		if err == nil {
			t.Errorf("%s: no error, got %q", tt.what, got)
			continue
		}
		if msg := err.Error(); got != nil || !strings.Contains(msg, tt.want) || tt.name != "" && !strings.Contains(msg, " "+tt.name+": ") {
			t.Errorf("%s: %q beside error %q, want %q in it", tt.what, got, msg, tt.want)
		}
	}
}

// Whatever the bytes, the outcome is an error or clean lessons that hold something.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"One.\r\n", `{"text":"One"}`, `{"messages":[{"role":"user","content":"b"},{"role":"assistant","content":"c"}]}`, `[{"prompt":"a","response":"b"}]`, "{\n}", "\xff", "\ufeff\x00"} {
		f.Add("x", []byte(s))
		f.Add("x.jsonl", []byte(s))
		f.Add("x.json", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		all, err := Parse(name, data)
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%d lessons and error %v", len(all), err)
		}
		for _, l := range all {
			texts := []string{l.Text}
			if l.Chat != nil {
				if texts = texts[:0]; l.Chat[len(l.Chat)-1].Role != assistant {
					t.Fatalf("chat without an answer at its end: %q", l)
				}
			}
			for _, m := range l.Chat {
				texts = append(texts, m.Content)
			}
			for _, text := range texts {
				if text == "" || !utf8.ValidString(text) || strings.TrimSpace(text) != text || strings.Contains(text, "\x00") {
					t.Fatalf("unclean text %q", text)
				}
			}
		}
	})
}
