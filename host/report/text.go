package report

import (
	"bufio"
	"fmt"
	"io"
)

// columns is the width of the text for the terminal.
const columns = 100

// writeText writes a document for the terminal: what is known and why first,
// the line to act on last, where it is still on the screen.
func writeText(w io.Writer, d document) error {
	b := bufio.NewWriter(w)
	first := true
	for _, s := range d.Sections {
		if s.Aside {
			continue
		}
		if !first {
			fmt.Fprintln(b)
		}
		first = false
		paragraphs(b, s.Text)
		for i, t := range s.Tables {
			if i > 0 || len(s.Text) > 0 && t.Caption == "" {
				fmt.Fprintln(b)
			}
			if t.Caption != "" {
				fmt.Fprintln(b, t.Caption+":")
			}
			for _, line := range t.text() {
				fmt.Fprintln(b, line)
			}
		}
		paragraphs(b, s.After)
		for _, n := range s.Notes {
			paragraphs(b, []string{"note: " + n})
		}
	}
	if d.Banner != nil {
		fmt.Fprintln(b)
		paragraphs(b, []string{d.Banner.Label + " " + d.Banner.Reason})
	}
	return b.Flush()
}

func paragraphs(w io.Writer, list []string) {
	for _, p := range list {
		for _, line := range wrap(p, columns, "      ") {
			fmt.Fprintln(w, line)
		}
	}
}
