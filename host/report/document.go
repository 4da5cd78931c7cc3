package report

import (
	"io"

	"pare/plugin"
)

// A document is what a report says, before it takes a form. Its strings are
// plain: nothing in them is escaped yet, and no control character is left.
type document struct {
	Kind     string // "Pruning report"
	Title    string
	Banner   *banner // the one line to act on
	Sections []section
	Where    []fact // provenance: what was measured, by which digests
}

// A banner is the line that a reader who reads one line should read.
type banner struct {
	Class  string // "keep", "repair", "much", or "" where nothing was judged
	Label  string // "Verdict: repair first."
	Reason string
}

// A section is a part of a document. All but Title may be empty.
type section struct {
	Title    string
	Aside    bool // left out of the text for the terminal
	Text     []string
	Strip    []bool // for each layer of a model, whether it is removed
	Tables   []table
	After    []string // what to know about the tables, in a sentence each
	Figure   *figure
	Samples  []plugin.Sample
	Speakers [2]string // whose answers the samples hold
	Notes    []string  // what a person should know before trusting it
}

// A figure draws itself as an SVG where it is shown.
type figure struct {
	Caption string
	draw    func(w io.Writer, format string) error
}

// A fact is a name with its value.
type fact struct{ Name, Value string }

// verdict words a verdict as a banner.
func verdict(v *plugin.Verdict) *banner {
	if v == nil {
		return nil
	}
	class := map[string]string{plugin.SayKeep: "keep", plugin.SayRepair: "repair", plugin.SayTooMuch: "much"}[v.Say]
	return &banner{Class: class, Label: "Verdict: " + plain(v.Say) + ".", Reason: plain(v.Reason)}
}

// notes are drops of advice, made plain.
func notes(list []string) []string {
	var out []string
	for _, n := range list {
		out = append(out, plain(n))
	}
	return out
}
