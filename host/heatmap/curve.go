package heatmap

import (
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"pare/plugin/layers"
)

// curve draws one value a layer as a line with dots, over bands where the plan
// removes layers.
func (f *figure) curve(p panel, title string, values []float64) {
	for _, v := range values {
		p.y1 = max(p.y1, v*1.08)
	}
	if p.y1 == 0 {
		p.y1 = 1
	}
	for _, r := range layers.Runs(f.remove) {
		p.FillPolygon(blush, p.box(float64(r.First)-.5, 0, float64(r.Last)+.5, p.y1)[:4])
	}
	ticks := round(0, p.y1, 5, false)
	for _, y := range ticks {
		a, b := p.at(p.x0, y), p.at(p.x1, y)
		p.StrokeLine2(draw.LineStyle{Color: grid, Width: .5}, a.X, a.Y, b.X, b.Y)
	}
	line := make([]vg.Point, len(values))
	for l, v := range values {
		line[l] = p.at(float64(l), v)
	}
	p.StrokeLines(draw.LineStyle{Color: steel, Width: 1.2}, line)
	radius := min((p.at(1, 0).X-p.at(0, 0).X)*.25, 2.4)
	for l, at := range line {
		dot := draw.GlyphStyle{Color: steel, Radius: radius, Shape: draw.CircleGlyph{}}
		for _, r := range layers.Runs(f.remove) {
			if r.First <= l && l <= r.Last {
				dot.Color = vermilion
			}
		}
		p.DrawGlyphNoClip(dot, at)
	}
	p.frame()
	p.up(ticks, title)
}
