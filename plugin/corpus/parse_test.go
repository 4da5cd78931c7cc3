package corpus

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		what, name, data string
		want             []string
	}{
		{"plain text", "notes.txt", "One.\n\nTwo.\n", []string{"One.\n\nTwo."}},
		{"byte order mark", "notes.txt", "\ufeffOne.", []string{"One."}},
		{"CRLF", "notes.txt", "One.\r\n\r\nTwo.\r\n", []string{"One.\n\nTwo."}},
		{"text per line", "a.jsonl", `{"text":"One"}` + "\n" + `{"text":"Two","id":7}` + "\n", []string{"One", "Two"}},
		{"JSON lines without the name", "", "\n" + `{"text":"One"}` + "\r\n\r\n" + `{"text":"T\r\nwo"}`, []string{"One", "T\nwo"}},
		{"JSON lines after a byte order mark", "", "\ufeff" + `{"text":"One"}`, []string{"One"}},
		{"prompt and response", "", `{"prompt":"Why?","response":"Because."}`, []string{"Why?\n\nBecause."}},
		{
			"messages", "",
			`{"messages":[{"role":"system","content":""},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}`,
			[]string{"User: Hi\n\nAssistant: Hello"},
		},
		{"blank texts between others", "a.NDJSON", `{"text":"One"}` + "\n" + `{"text":" \n"}` + "\n" + `{"text":"Two"}`, []string{"One", "Two"}},
		{"source code that begins with a brace", "x", "{\n  body\n}\n", []string{"{\n  body\n}"}},
		{"text that only begins like JSON", "x", `{"text": oops` + "\nmore", []string{`{"text": oops` + "\nmore"}},
	} {
		docs, err := Parse(tt.name, []byte(tt.data))
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		if got := texts(docs); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.what, got, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := `{"text":"One"}` + "\n"
	for _, tt := range []struct {
		what, name, data string
		want             string // in the error
	}{
		{"nothing", "a.txt", "", "no text"},
		{"white space", "a.txt", " \n\t\n", "no text"},
		{"only blank records", "a.jsonl", `{"text":""}`, "no text"},
		{"NUL", "a.txt", "ab\x00c", "byte 2 is NUL"},
		{"UTF-16", "a.txt", "h\x00i\x00", "byte 1 is NUL"},
		{"Latin-1", "a.txt", "caf\xe9 noir", "byte 3 (0xe9) is not UTF-8"},
		{"text cut inside a character", "a.txt", "aé"[:2], "byte 1 (0xc3)"},
		{"cut line", "a.jsonl", good + "\n" + `{"text":"Tw`, "line 3: unexpected end"},
		{"prose in JSON lines", "a.jsonl", "Once upon a time", "line 1: invalid character"},
		{"array", "a.jsonl", good + `["One"]`, "line 2: a JSON array"},
		{"two objects on a line", "a.jsonl", `{"text":"a"} {"text":"b"}`, "line 1: invalid character"},
		{"number for text", "a.jsonl", good + `{"text":7}`, `line 2: "text" is a JSON number`},
		{"content in parts", "a.jsonl", `{"messages":[{"role":"user","content":[]}]}`, `line 1: "messages.content" is a JSON array`},
		{"no role", "a.jsonl", `{"messages":[{"role":"user","content":"a"},{"content":"b"}]}`, "line 1: message 2"},
		{"prompt alone", "a.jsonl", `{"prompt":"Why?"}`, "line 1: the object holds no text"},
		{"other keys", "", good + `{"body":"One"}`, "line 2: the object holds no text"},
		{"escaped NUL", "", good + `{"text":"a\u0000"}`, "line 2: the text holds a NUL"},
	} {
		docs, err := Parse(tt.name, []byte(tt.data))
		if err == nil {
			t.Errorf("%s: no error, got %q", tt.what, texts(docs))
			continue
		}
		name := tt.name
		if name == "" {
			name = "text"
		}
		if msg := err.Error(); !strings.HasPrefix(msg, "read corpus "+name+": ") || !strings.Contains(msg, tt.want) {
			t.Errorf("%s: error is %q, want %q in it", tt.what, msg, tt.want)
		}
	}
}

func TestParsedDocumentsBearTheName(t *testing.T) {
	docs, err := Parse("letters.jsonl", []byte(`{"text":"One"}`))
	if err != nil || docs[0].Style != "letters.jsonl" {
		t.Errorf("got %v, %v", docs, err)
	}
}

// Whatever the bytes, the outcome is an error or clean, non-empty text.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"One.\r\n", `{"text":"One"}`, `{"messages":[{"role":"é","content":"b"}]}`, "{\n}", "\xff", "\ufeff\x00"} {
		f.Add("x", []byte(s))
		f.Add("x.jsonl", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		docs, err := Parse(name, data)
		if err != nil {
			if docs != nil {
				t.Fatal("documents beside an error")
			}
			return
		}
		if len(docs) == 0 {
			t.Fatal("neither documents nor an error")
		}
		for _, d := range docs {
			if d.Text == "" || !utf8.ValidString(d.Text) || strings.TrimSpace(d.Text) != d.Text {
				t.Fatalf("unclean text %q", d.Text)
			}
		}
	})
}

func texts(docs []Document) []string {
	var all []string
	for _, d := range docs {
		all = append(all, d.Text)
	}
	return all
}
