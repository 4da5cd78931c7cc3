package report

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The colours of the lines are those of Okabe and Ito, which stay apart for
// every kind of colour vision; each has a shape of its own besides.
var (
	marks = []draw.GlyphStyle{
		{Color: color.RGBA{0x00, 0x72, 0xb2, 0xff}, Shape: draw.CircleGlyph{}, Radius: 3.2},
		{Color: color.RGBA{0xd5, 0x5e, 0x00, 0xff}, Shape: polygon{4, math.Pi / 4}, Radius: 3.9},
		{Color: color.RGBA{0x00, 0x9e, 0x73, 0xff}, Shape: polygon{3, math.Pi / 2}, Radius: 4.2},
		{Color: color.RGBA{0xcc, 0x79, 0xa7, 0xff}, Shape: polygon{4, 0}, Radius: 4.2},
		{Color: color.RGBA{0xe6, 0x9f, 0x00, 0xff}, Shape: polygon{3, -math.Pi / 2}, Radius: 4.2},
		{Color: color.RGBA{0x56, 0xb4, 0xe9, 0xff}, Shape: polygon{5, math.Pi / 2}, Radius: 4},
		{Color: color.RGBA{0x22, 0x22, 0x22, 0xff}, Shape: draw.PlusGlyph{}, Radius: 4},
	}
	sizeMark = draw.GlyphStyle{Color: color.RGBA{0x77, 0x77, 0x77, 0xff}, Shape: draw.SquareGlyph{}, Radius: 2.8}

	rule = color.RGBA{0xe6, 0xe6, 0xe6, 0xff}
)

// A polygon is a filled mark with its first corner in the direction turned, in
// radians from the right.
type polygon struct {
	corners int
	turned  float64
}

func (g polygon) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	corners := make([]vg.Point, g.corners)
	for i := range corners {
		sin, cos := math.Sincos(g.turned + 2*math.Pi*float64(i)/float64(g.corners))
		corners[i] = vg.Point{X: at.X + style.Radius*vg.Length(cos), Y: at.Y + style.Radius*vg.Length(sin)}
	}
	c.FillPolygon(style.Color, corners)
}
