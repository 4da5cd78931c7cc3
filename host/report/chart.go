package report

import (
	"bytes"
	"fmt"
	"image/color"
	"io"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
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

// Sizes in points, of 1/72 inch; a PNG has two pixels to a point.
const (
	chartWidth  = 640
	panelHeight = 190 // with the gap below it, where the ticks of the layers stand
	gap         = 26
	headHeight  = 78 // with one row of keys
	rowHeight   = 16
	left        = 18
	footHeight  = 16
	dpi         = 144
)

// write draws the chart as "png" or "svg". Nothing is written if it fails.
func (c chart) write(w io.Writer, format string) error {
	height := c.head() + vg.Length(footHeight+panelHeight*len(c.panels))
	var b bytes.Buffer
	var err error
	switch format {
	case "png":
		canvas := vgimg.NewWith(vgimg.UseWH(chartWidth, height), vgimg.UseDPI(dpi))
		c.draw(draw.New(canvas))
		_, err = vgimg.PngCanvas{Canvas: canvas}.WriteTo(&b)
	case "svg":
		canvas := vgsvg.New(chartWidth, height)
		c.draw(draw.New(canvas))
		_, err = canvas.WriteTo(&b)
		b = *bytes.NewBuffer(bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"),
			[]byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")))
	default:
		err = fmt.Errorf(`format %q: use "png" or "svg"`, format)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

func (c chart) draw(dc draw.Canvas) {
	dc.FillPolygon(white, []vg.Point{dc.Min, {X: dc.Max.X, Y: dc.Min.Y}, dc.Max, {X: dc.Min.X, Y: dc.Max.Y}})
	title := style(13, ink, text.XLeft, text.YTop)
	title.Font.Weight = xfont.WeightBold
	dc.FillText(title, vg.Point{X: left, Y: dc.Max.Y - 12}, c.title)
	dc.FillText(style(8.5, faint, text.XLeft, text.YTop), vg.Point{X: left, Y: dc.Max.Y - 30}, c.subtitle)
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

var keyStyle = style(9.5, ink, text.XLeft, text.YCenter)

// width is that of the key with the space after it.
func (k key) width() vg.Length { return 23 + keyStyle.Width(k.name) + 16 }

func (k key) draw(dc draw.Canvas, at vg.Point) {
	if k.line {
		dc.StrokeLine2(draw.LineStyle{Color: k.mark.Color, Width: 1.3}, at.X, at.Y, at.X+18, at.Y)
	}
	dc.DrawGlyphNoClip(k.mark, vg.Point{X: at.X + 9, Y: at.Y})
	dc.FillText(keyStyle, vg.Point{X: at.X + 23, Y: at.Y + 1.2}, k.name)
}

var fonts = font.NewCache(liberation.Collection())

func style(size vg.Length, c color.Color, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{
		Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign: x, YAlign: y, Handler: text.Plain{Fonts: fonts},
	}
}
