package heatmap

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pare/plugin"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestTextMatchesGolden(t *testing.T) {
	p := synthetic(12)
	p.Faults = []plugin.Fault{{Reason: "the graph was split", Graphs: 2}, {Reason: "some tokens were left out", Graphs: 1, Counted: true}}
	var b bytes.Buffer
	if err := Text(&b, p, planned(p, 6, 7, 8)); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/twelve.txt"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("got\n%s\nwant\n%s\n(go test -update writes it anew)", b.Bytes(), want)
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > 79 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestTextMarksWhatThePlanRemoves(t *testing.T) {
	p := synthetic(30)
	p.Last = synthetic(30).All
	p.Last.Tokens, p.Last.OutTokens = 42, 0
	plan := planned(p, 4, 29)
	plan.TokensUsed = "last"
	var b bytes.Buffer
	if err := Text(&b, p, plan); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"\n*     4 ", "\n      5 ", "\n*    29         -          -        - ", "42 tokens in 42 chunks: output tokens only", "layers 4,29 of 30 by angular"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, " out ") {
		t.Error("a norm that was never measured is shown")
	}
}

func TestNamesCannotSteerTheTerminal(t *testing.T) {
	p := synthetic(4)
	p.Architecture, p.Corpora[0].Name = "lla\x1b[31mma", "a\nb\x00"
	var b bytes.Buffer
	if err := Text(&b, p, nil); err != nil || strings.ContainsAny(b.String(), "\x1b\x00") || !strings.Contains(b.String(), "corpus    ab, ") {
		t.Errorf("%v: %q", err, b.String())
	}
	if text := words(t, write(t, "svg", p, Options{Title: "x\x1by"})); !strings.Contains(text, "xy") {
		t.Error(text)
	}
}

func TestLongListsAreAbridged(t *testing.T) {
	for list, want := range map[string]string{
		"layers 1-2,4": "layers 1-2,4",
		"layers 1,3,5,7,9,11,13,15,17,19,21,23,25": "layers 1,3,5,7,9,11,13,15,17,19,21, …",
	} {
		if got := abridge(list); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTextRefuses(t *testing.T) {
	var b bytes.Buffer
	if err := Text(&b, plugin.Profile{}, nil); err == nil || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
	if err := Text(&b, synthetic(4), &plugin.Plan{Remove: []int{4}}); err == nil || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
}

func TestTextSaysWhenTrafficWas(t *testing.T) {
	p := synthetic(4)
	from := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	to := from.Add(90 * time.Minute)
	p.Corpora = []plugin.CorpusInfo{{Name: "live:code", Documents: 40, From: &from, To: &to}}
	var b bytes.Buffer
	if err := Text(&b, p, nil); err != nil {
		t.Fatal(err)
	}
	if want := "traffic   live:code, 40 requests, 2026-03-01 12:00 to 2026-03-01 13:30 UTC\n"; !strings.Contains(b.String(), want) {
		t.Errorf("%q is missing in\n%s", want, b.String())
	}
}
