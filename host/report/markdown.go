package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// writeMarkdown writes a document as GitHub's Markdown, without its figures.
func writeMarkdown(w io.Writer, d document) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# %s: %s\n", d.Kind, escape(d.Title))
	if d.Banner != nil {
		fmt.Fprintf(b, "\n**%s** %s\n", escape(d.Banner.Label), escape(d.Banner.Reason))
	}
	for _, s := range d.Sections {
		if len(s.Text)+len(s.Tables)+len(s.After)+len(s.Notes)+len(s.Samples) > 0 {
			writeSection(b, s)
		}
	}
	fmt.Fprint(b, "\n## Provenance\n\n")
	for _, f := range d.Where {
		fmt.Fprintf(b, "- %s: %s\n", escape(f.Name), escape(f.Value))
	}
	return b.Flush()
}

func writeSection(w io.Writer, s section) {
	fmt.Fprintf(w, "\n## %s\n", escape(s.Title))
	for _, p := range s.Text {
		fmt.Fprintf(w, "\n%s\n", escape(p))
	}
	for _, t := range s.Tables {
		if t.Caption != "" {
			fmt.Fprintf(w, "\n%s:\n", escape(t.Caption))
		}
		writeTable(w, t)
	}
	for _, p := range s.After {
		fmt.Fprintf(w, "\n%s\n", escape(p))
	}
	for i, n := range s.Notes {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "- Note: %s\n", escape(n))
	}
	for _, sample := range s.Samples {
		fmt.Fprintf(w, "\nPrompt:\n\n%s\n%s:\n\n%s\n%s:\n\n%s", fence(sample.Prompt),
			escape(s.Speakers[0]), fence(sample.Before), escape(s.Speakers[1]), fence(sample.After))
	}
}

func writeTable(w io.Writer, t table) {
	row := func(cells []string) {
		for i, c := range cells {
			cells[i] = escape(c)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	fmt.Fprintln(w)
	row(append([]string{}, t.Head...))
	for i := range t.Head {
		rule := "|---"
		if t.Right(i) {
			rule = "|---:"
		}
		fmt.Fprint(w, rule)
	}
	fmt.Fprintln(w, "|")
	for _, r := range t.Rows {
		row(append([]string{}, r...))
	}
}

// escape keeps a string from being read as Markdown or HTML.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`,
		"<", "&lt;", ">", "&gt;", "&", "&amp;", "|", `\|`, "#", `\#`, "~", `\~`, "://", "&#58;//").Replace(s)
}

// fence puts a text between marks longer than any in it.
func fence(s string) string {
	mark := "```"
	for strings.Contains(s, mark) {
		mark += "`"
	}
	return mark + "text\n" + strings.TrimRight(s, "\n") + "\n" + mark + "\n"
}
