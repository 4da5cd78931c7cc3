package report

import (
	"io"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"pare/host/canvas"
)

// A chart is a stack of panels on one scale of layers, under a title and a row
// of keys.
type chart struct {
	title    string
	subtitle string
	keys     []key
	panels   []*panel
}

// A key tells what a mark stands for.
type key struct {
	name string
	mark draw.GlyphStyle
	line bool
}

// Sizes in points, of 1/72 inch.
const (
	chartWidth  = 640
	panelHeight = 190 // with the gap below it, where the ticks of the layers stand
	gap         = 26
	headHeight  = 78 // with one row of keys
	rowHeight   = 16
	left        = 18
	footHeight  = 16
)

// write draws the chart as "png" or "svg". Nothing is written if it fails.
func (c chart) write(w io.Writer, format string) error {
	height := c.head() + vg.Length(footHeight+panelHeight*len(c.panels))
	return canvas.Write(w, format, chartWidth, height, c.draw)
}

func (c chart) draw(dc draw.Canvas) {
	dc.FillPolygon(canvas.White, []vg.Point{dc.Min, {X: dc.Max.X, Y: dc.Min.Y}, dc.Max, {X: dc.Min.X, Y: dc.Max.Y}})
	title := canvas.Style(13, canvas.Ink, text.XLeft, text.YTop)
	title.Font.Weight = xfont.WeightBold
	dc.FillText(title, vg.Point{X: left, Y: dc.Max.Y - 12}, c.title)
	dc.FillText(canvas.Style(8.5, canvas.Faint, text.XLeft, text.YTop), vg.Point{X: left, Y: dc.Max.Y - 30}, c.subtitle)
	for i, row := range c.keyRows() {
		x := vg.Length(left)
		for _, k := range row {
			k.draw(dc, vg.Point{X: x, Y: dc.Max.Y - 54 - rowHeight*vg.Length(i)})
			x += k.width()
		}
	}
	top := dc.Max.Y - c.head()
	for _, p := range c.panels {
		p.draw(dc, vg.Rectangle{Min: vg.Point{X: left + 46, Y: top - panelHeight + gap}, Max: vg.Point{X: dc.Max.X - left, Y: top}})
		top -= panelHeight
	}
}

// head is the height of what stands above the panels.
func (c chart) head() vg.Length {
	return headHeight + rowHeight*vg.Length(max(0, len(c.keyRows())-1))
}

// keyRows are the keys in as many rows as they need.
func (c chart) keyRows() [][]key {
	var rows [][]key
	x := vg.Length(chartWidth)
	for _, k := range c.keys {
		if x+k.width() > chartWidth-2*left {
			rows, x = append(rows, nil), 0
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], k)
		x += k.width()
	}
	return rows
}

var keyStyle = canvas.Style(9.5, canvas.Ink, text.XLeft, text.YCenter)

// width is that of the key with the space after it.
func (k key) width() vg.Length { return 23 + keyStyle.Width(k.name) + 16 }

func (k key) draw(dc draw.Canvas, at vg.Point) {
	if k.line {
		dc.StrokeLine2(draw.LineStyle{Color: k.mark.Color, Width: 1.3}, at.X, at.Y, at.X+18, at.Y)
	}
	dc.DrawGlyphNoClip(k.mark, vg.Point{X: at.X + 9, Y: at.Y})
	dc.FillText(keyStyle, vg.Point{X: at.X + 23, Y: at.Y + 1.2}, k.name)
}
