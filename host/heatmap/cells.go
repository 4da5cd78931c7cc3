package heatmap

import (
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"pare/host/canvas"
	"pare/plugin/layers"
)

// shown is the place of a distance on the colour scale, 0..1.
func (f *figure) shown(d float64) float64 {
	if f.high == f.low {
		return 0
	}
	return (d - f.low) / (f.high - f.low)
}

// heat draws the cells (a, n), n upwards, and marks the best of each row and
// the blocks of the plan.
func (f *figure) heat(p panel) {
	p.y0, p.y1 = .5, float64(f.top)+.5
	for n := 1; n <= f.top; n++ {
		for a := 0; a+n <= f.top; a++ {
			x, y := float64(a), float64(n)
			b := p.box(x-.5, y-.5, x+.5, y+.5)
			if a+n < f.top {
				b[1].X, b[2].X = b[1].X+.3, b[2].X+.3 // under the next cell, so that no seam shows
			}
			if n > 1 {
				b[0].Y, b[1].Y = b[0].Y-.3, b[1].Y-.3
			}
			p.FillPolygon(shade(f.shown(f.m.Distance[a][a+n])), b[:4])
		}
	}
	width, height := p.at(1, 0).X-p.at(0, 0).X, p.at(0, 1).Y-p.at(0, 0).Y
	radius := min(width, height) * .27
	for n := 1; n < f.layers; n++ {
		f.dot(p, p.at(float64(f.best(n)), float64(n)), min(radius, 2.6))
	}
	for _, r := range f.joined() {
		f.outline(p, p.at(float64(r.First), float64(r.Last-r.First+1)), width, height)
	}
	p.frame()
	p.across(round(0, float64(f.layers-1), 16, true), "a: first layer removed")
	p.up(round(1, float64(f.top), 16, true), "n: layers removed")
	f.legend(p, min(max(radius, 1.6), 2.6))
}

// best is the start of the block of n layers with the smallest distance, among
// those that leave the last layer in place.
func (f *figure) best(n int) int {
	best := 0
	for a := 1; a+n < f.layers; a++ {
		if f.m.Distance[a][a+n] < f.m.Distance[best][best+n] {
			best = a
		}
	}
	return best
}

// joined are the blocks of the plan that have a cell.
func (f *figure) joined() []layers.Run {
	return slices.DeleteFunc(layers.Runs(f.remove), func(r layers.Run) bool { return r.Last >= f.top })
}

func (f *figure) dot(p panel, at vg.Point, radius vg.Length) {
	p.DrawGlyphNoClip(draw.GlyphStyle{Color: canvas.Ink, Radius: radius + .5, Shape: draw.CircleGlyph{}}, at)
	p.DrawGlyphNoClip(draw.GlyphStyle{Color: canvas.White, Radius: radius, Shape: draw.CircleGlyph{}}, at)
}

// outline marks a cell, or its surroundings where it is too small to see.
func (f *figure) outline(p panel, at vg.Point, width, height vg.Length) {
	w, h := max(width, 7)/2, max(height, 7)/2
	a, b := vg.Point{X: at.X - w, Y: at.Y - h}, vg.Point{X: at.X + w, Y: at.Y + h}
	box := []vg.Point{a, {X: b.X, Y: a.Y}, b, {X: a.X, Y: b.Y}, a, {X: b.X, Y: a.Y}} // once round, and on to close the corner
	p.StrokeLines(draw.LineStyle{Color: canvas.White, Width: 3.4}, box)
	p.StrokeLines(draw.LineStyle{Color: vermilion, Width: 1.8}, box)
}

// legend stands in the corner that no block reaches.
func (f *figure) legend(p panel, radius vg.Length) {
	x, y := p.Min.X+(p.Max.X-p.Min.X)*.54, p.Max.Y-18
	line := func(s string) {
		p.FillText(canvas.Style(9, canvas.Ink, text.XLeft, text.YCenter), vg.Point{X: x + 11, Y: y + 1.2}, s)
		y -= 14
	}
	f.dot(p, vg.Point{X: x, Y: y}, radius)
	line("the best block of each size")
	for i, s := range f.chosen {
		if i == 0 && len(f.joined()) > 0 {
			f.outline(p, vg.Point{X: x, Y: y}, 0, 0)
		}
		line(s)
	}
	if f.top < f.layers {
		line("what follows the last layer was not traced")
	}
}

// bar is the colour scale, to the right of the heat map.
func (f *figure) bar(cells panel) {
	p := cells
	p.Min.X, p.Max.X = cells.Max.X+14, cells.Max.X+26
	p.x0, p.x1, p.y0, p.y1 = 0, 1, f.low, f.high
	if f.high == f.low {
		p.y1 = f.low + 1e-6
	}
	const steps = 128
	for i := range steps {
		lo := f.low + (p.y1-f.low)*float64(i)/steps
		hi := f.low + (p.y1-f.low)*float64(min(i+2, steps))/steps
		p.FillPolygon(shade((float64(i)+.5)/steps), p.box(0, lo, 1, hi)[:4])
	}
	p.frame()
	for _, v := range round(f.low, f.high, 8, false) {
		at := p.at(1, v)
		p.StrokeLine2(draw.LineStyle{Color: canvas.Faint, Width: .5}, at.X, at.Y, at.X+3, at.Y)
		p.FillText(canvas.Style(8, canvas.Faint, text.XLeft, text.YCenter), vg.Point{X: at.X + 5, Y: at.Y + 1}, number(v))
	}
	s := canvas.Style(9, canvas.Ink, text.XCenter, text.YTop)
	s.Rotation = math.Pi / 2
	p.FillText(s, vg.Point{X: p.Max.X + 30, Y: (p.Min.Y + p.Max.Y) / 2}, "angular distance / π")
}
