package report

import (
	"math"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"pare/host/canvas"
)

// A panel is a rectangle of a chart with an axis on two of its sides.
type panel struct {
	draw.Canvas // the rectangle, once it is drawn
	x, y        axis
	title       string // of the y axis, on its side
	below       string // title of the x axis
	drawings    []drawing
}

// A drawing is something shown in a panel, over those before it.
type drawing interface{ drawOn(p *panel) }

func newPanel(title string, x, y axis) *panel { return &panel{x: x, y: y, title: title} }

func (p *panel) add(d ...drawing) { p.drawings = append(p.drawings, d...) }

// at is the place of a value; what lies beyond the y axis is put at its end.
func (p *panel) at(x, y float64) vg.Point {
	return vg.Point{
		X: p.Min.X + vg.Length(p.x.share(x))*(p.Max.X-p.Min.X),
		Y: p.Min.Y + vg.Length(p.y.share(y))*(p.Max.Y-p.Min.Y),
	}
}

// draw draws the panel so that its data fill the rectangle; axes and titles
// stand outside of it.
func (p *panel) draw(dc draw.Canvas, r vg.Rectangle) {
	p.Canvas = draw.Canvas{Canvas: dc.Canvas, Rectangle: r}
	line := draw.LineStyle{Color: canvas.Faint, Width: .6}
	for _, t := range p.y.ticks {
		y := p.at(0, t.value).Y
		p.StrokeLine2(draw.LineStyle{Color: rule, Width: .6}, p.Min.X, y, p.Max.X, y)
		p.StrokeLine2(line, p.Min.X-3, y, p.Min.X, y)
		p.FillText(canvas.Style(8.5, canvas.Faint, text.XRight, text.YCenter), vg.Point{X: p.Min.X - 5.5, Y: y + 1}, t.label)
	}
	for _, t := range p.x.ticks {
		x := p.Min.X + vg.Length(p.x.share(t.value))*(p.Max.X-p.Min.X)
		p.StrokeLine2(line, x, p.Min.Y-3, x, p.Min.Y)
		p.FillText(canvas.Style(8.5, canvas.Faint, text.XCenter, text.YTop), vg.Point{X: x, Y: p.Min.Y - 4.5}, t.label)
	}
	for _, d := range p.drawings {
		d.drawOn(p)
	}
	p.StrokeLines(line, []vg.Point{{X: p.Min.X, Y: p.Max.Y}, p.Min, {X: p.Max.X, Y: p.Min.Y}})
	s := canvas.Style(9.5, canvas.Ink, text.XCenter, text.YTop)
	p.FillText(s, vg.Point{X: (p.Min.X + p.Max.X) / 2, Y: p.Min.Y - 17}, p.below)
	s.Rotation = math.Pi / 2
	p.FillText(s, vg.Point{X: p.Min.X - 46, Y: (p.Min.Y + p.Max.Y) / 2}, p.title)
}
