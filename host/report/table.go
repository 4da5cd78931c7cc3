package report

import (
	"strings"
	"unicode/utf8"
)

// A table has a cell for each column in Head and in every row.
type table struct {
	Caption string
	Align   string // for each column 'l', 'r', or 'b' for bars
	Head    []string
	Rows    [][]string
}

// Right tells whether a column is flush right.
func (t table) Right(column int) bool { return t.Align[column] == 'r' }

// Bar tells whether a column holds bars.
func (t table) Bar(column int) bool { return t.Align[column] == 'b' }

// before is the table with only the columns before the given one.
func (t table) before(column int) table {
	t.Align, t.Head = t.Align[:column], t.Head[:column]
	for i, row := range t.Rows {
		t.Rows[i] = row[:column]
	}
	return t
}

// text lays the table out in columns, two spaces apart.
func (t table) text() []string {
	rows := append([][]string{t.Head}, t.Rows...)
	widths := make([]int, len(t.Head))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var lines []string
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.Right(i) {
				b.WriteString(pad + cell + "  ")
			} else {
				b.WriteString(cell + pad + "  ")
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}
