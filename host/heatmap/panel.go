package heatmap

import (
	"math"
	"strconv"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"pare/host/canvas"
)

// A panel is a rectangle of the figure with a linear scale on each side.
type panel struct {
	draw.Canvas
	x0, x1, y0, y1 float64 // data at the edges
}

func (p *panel) at(x, y float64) vg.Point {
	return vg.Point{
		X: p.Min.X + vg.Length((x-p.x0)/(p.x1-p.x0))*(p.Max.X-p.Min.X),
		Y: p.Min.Y + vg.Length((y-p.y0)/(p.y1-p.y0))*(p.Max.Y-p.Min.Y),
	}
}

// box is the rectangle between two places of the data, as a closed line.
func (p *panel) box(xa, ya, xb, yb float64) []vg.Point {
	a, b := p.at(xa, ya), p.at(xb, yb)
	return []vg.Point{a, {X: b.X, Y: a.Y}, b, {X: a.X, Y: b.Y}, a}
}

func (p *panel) frame() {
	p.StrokeLines(draw.LineStyle{Color: canvas.Faint, Width: .5}, p.box(p.x0, p.y0, p.x1, p.y1))
}

// across labels the bottom edge with the given ticks and a title.
func (p *panel) across(ticks []float64, title string) {
	for _, x := range ticks {
		at := vg.Point{X: p.at(x, p.y0).X, Y: p.Min.Y}
		p.StrokeLine2(draw.LineStyle{Color: canvas.Faint, Width: .5}, at.X, at.Y, at.X, at.Y-3)
		p.FillText(canvas.Style(8, canvas.Faint, text.XCenter, text.YTop), vg.Point{X: at.X, Y: at.Y - 4.5}, number(x))
	}
	p.FillText(canvas.Style(9, canvas.Ink, text.XCenter, text.YTop), vg.Point{X: (p.Min.X + p.Max.X) / 2, Y: p.Min.Y - 16}, title)
}

// up labels the left edge; the title stands on its side.
func (p *panel) up(ticks []float64, title string) {
	for _, y := range ticks {
		at := p.at(p.x0, y)
		p.StrokeLine2(draw.LineStyle{Color: canvas.Faint, Width: .5}, at.X-3, at.Y, at.X, at.Y)
		p.FillText(canvas.Style(8, canvas.Faint, text.XRight, text.YCenter), vg.Point{X: at.X - 5, Y: at.Y + 1}, number(y))
	}
	s := canvas.Style(9, canvas.Ink, text.XCenter, text.YTop)
	s.Rotation = math.Pi / 2
	p.FillText(s, vg.Point{X: p.Min.X - 40, Y: (p.Min.Y + p.Max.Y) / 2}, title)
}

// round lists multiples of 1, 2 or 5 times a power of ten from low to high, at
// most n of them, and whole ones where whole is set.
func round(low, high float64, n int, whole bool) []float64 {
	if !(high > low) {
		return []float64{low}
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	if whole {
		step = max(1, step)
	}
	for i := 0; math.Floor(high/step+1e-9)-math.Ceil(low/step-1e-9)+1 > float64(n); i++ {
		step *= []float64{2, 2.5, 2}[i%3]
	}
	var ticks []float64
	for i := math.Ceil(low/step - 1e-9); i <= math.Floor(high/step+1e-9); i++ {
		ticks = append(ticks, i*step)
	}
	return ticks
}

// number writes a tick: 0.30000000000000004 as 0.3, and minus zero as 0.
func number(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e6+0, 'f', -1, 64) }
