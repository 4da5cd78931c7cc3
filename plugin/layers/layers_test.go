package layers

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string][]int{
		"0":          {0},
		"20-22":      {20, 21, 22},
		"3, 20-21":   {3, 20, 21},
		"9,1-2,4":    {1, 2, 4, 9},
		" 5 - 6 , 7": {5, 6, 7},
	} {
		got, err := Parse(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Parse(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":               "is not a layer",
		"a":              "is not a layer",
		"-3":             "is not a layer",
		"1-":             "is not a layer",
		"5-2":            "runs backwards",
		"1-3,2":          "twice",
		"0-99999":        "beyond any model",
		"18446744073709": "is not a layer",
		"1.5":            "is not a layer",
	} {
		if got, err := Parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, %v; want an error with %q", in, got, err, want)
		}
	}
}

func FuzzFormat(f *testing.F) {
	f.Add("3,20-27")
	f.Add("0,2,4-5")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(Format(list))
		if err != nil || !slices.Equal(list, again) {
			t.Fatalf("%q -> %v -> %q -> %v, %v", s, list, Format(list), again, err)
		}
	})
}
