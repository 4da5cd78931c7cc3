package host

import (
	"strings"
	"testing"

	"pare/plugin"
)

// What others asked of the model meanwhile is no part of the text's.
func TestForeignTokens(t *testing.T) {
	for _, c := range []struct{ all, first, leftOut, want int64 }{
		{98, 2, 0, 0}, {90, 2, 10, 0}, {100, 2, 0, 0}, {60, 1, 0, 0}, {100, 3, 0, 1}, {200, 4, 0, 102},
	} {
		d := plugin.TraceDelta{Expected: 100, LeftOut: c.leftOut, Texts: []string{"a", "b"}}
		d.All.Tokens, d.First.Tokens = c.all, c.first
		if got := foreign(d); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// A large model's pass is measured in part, which is enough; a prompt cache that
// answers for the model is not, and the part measured is not blamed for it.
func TestEnoughTokens(t *testing.T) {
	thinned := plugin.Fault{Reason: "thinned", Graphs: 1, Counted: true}
	lost := plugin.Fault{Reason: "lost", Graphs: 1}
	for _, c := range []struct {
		seen, leftOut int64
		faults        []plugin.Fault
		want          string
	}{
		{seen: 90},
		{seen: 60, leftOut: 30, faults: []plugin.Fault{thinned}},
		{seen: 89, want: "came from the prompt cache"},
		{seen: 0, want: "unload it"},
		{seen: 60, leftOut: 29, faults: []plugin.Fault{thinned}, want: "89 of 100 tokens were computed, the rest came from the prompt cache"},
		{seen: 40, leftOut: 30, faults: []plugin.Fault{thinned, lost}, want: "30 of 100 tokens could not be traced: lost"},
	} {
		d := plugin.TraceDelta{Expected: 100, LeftOut: c.leftOut, Faults: c.faults}
		d.All.Tokens, d.First.Tokens = max(0, c.seen-1), min(c.seen, 1)
		err := enough("m", d)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c, err)
		case c.want != "" && (plugin.KindOf(err) != plugin.Unavailable || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %q", c, err, c.want)
		}
	}
}
