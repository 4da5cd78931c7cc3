package corpus

import (
	"fmt"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for _, tt := range []struct{ what, name, data, want string }{
		{"JSON lines", "", "{\"a\":1}\n\n{\"b\":2}\r\n", `1:{"a":1} 3:{"b":2}`},
		{"lines that are no JSON", "x.jsonl", "once\nupon", "1:once 2:upon"},
		{"array", "", "\ufeff[\n {\"a\":1},\n\n {\"b\":\n2}]\n", "2:{\"a\":1} 4:{\"b\":\n2}"},
		{"array on one line", "x.json", `[{"a":1}, {"b":2}]`, `1:{"a":1} 1:{"b":2}`},
		{"spread objects", "x.json", "{\n\"a\":1}\n{\"b\":2}", "1:{\n\"a\":1} 3:{\"b\":2}"},
		{"array of others in a data set", "x.JSON", "[\n1]", "2:1"},
		{"prose", "", "Once upon a time", ""},
		{"prose in brackets", "", "[Enter a ghost]\nBoo.", ""},
		{"array of numbers", "notes.txt", "[1, 2]", ""},
		{"array cut short", "", `[{"a":1},`, ""},
		{"nothing", "x.json", " \n", ""},
	} {
		lines, err := Lines(tt.name, []byte(tt.data))
		var got []string
		for _, l := range lines {
			got = append(got, fmt.Sprintf("%d:%s", l.Number, l.JSON))
		}
		if g := strings.Join(got, " "); err != nil || g != tt.want {
			t.Errorf("%s: got %q and error %v, want %q", tt.what, g, err, tt.want)
		}
	}
}

func TestLinesRefuses(t *testing.T) {
	for _, tt := range []struct{ what, data, want string }{
		{"cut array", "[{\"a\":1},\n{\"b\"", "line 2: the file ends"},
		{"array not closed", "[{\"a\":1}\n", "line 2: the file ends"},
		{"prose", "\nOnce upon", "line 2: invalid character 'O'"},
		{"two arrays", "[{}]\n[{}]", "line 2: something follows"},
		{"closing bracket too many", "{}\n]", "line 2: "},
		{"missing comma", "[{\"a\":1}\n{\"b\":2}]", "line 2: "},
		{"NUL", "[\x00]", "byte 1 is NUL"},
	} {
		lines, err := Lines("x.json", []byte(tt.data))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v and error %v, want %q in it", tt.what, lines, err, tt.want)
		}
	}
}
