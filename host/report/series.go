package report

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"pare/host/canvas"
)

// A point is a value with what bounds it; low and high are the value itself
// where nothing does.
type point struct{ x, y, low, high float64 }

// A series is drawn as a line with a mark and its bounds at each point.
type series struct {
	mark   draw.GlyphStyle
	points []point
	dashed bool
}

func (s series) drawOn(p *panel) {
	line := draw.LineStyle{Color: s.mark.Color, Width: 1.3}
	if s.dashed {
		line.Dashes = []vg.Length{4, 3}
	}
	places := make([]vg.Point, len(s.points))
	for i, q := range s.points {
		places[i] = p.at(q.x, q.y)
		if q.high > q.low {
			p.between(s.mark.Color, .9, q)
		}
	}
	p.StrokeLines(line, places)
	for _, at := range places {
		p.DrawGlyphNoClip(s.mark, at)
	}
}

// between draws the bounds of a point.
func (p *panel) between(c color.Color, width vg.Length, q point) {
	low, high := p.at(q.x, q.low), p.at(q.x, q.high)
	p.StrokeLine2(draw.LineStyle{Color: c, Width: width}, low.X, low.Y, high.X, high.Y)
}

// bars stand on zero, one for each point; what goes beyond the axis is cut off
// there, with its value written in it where there is room.
type bars struct {
	mark   draw.GlyphStyle
	points []point
}

func (b bars) drawOn(p *panel) {
	for _, q := range b.points {
		foot, top := p.at(q.x-.38, 0), p.at(q.x+.38, q.y)
		p.FillPolygon(b.mark.Color, []vg.Point{foot, {X: top.X, Y: foot.Y}, top, {X: foot.X, Y: top.Y}})
		switch cut := q.y > p.y.max; {
		case cut && top.X-foot.X > 7:
			s := canvas.Style(7.5, canvas.White, text.XRight, text.YCenter)
			s.Rotation = math.Pi / 2
			p.FillText(s, vg.Point{X: p.at(q.x, 0).X + .5, Y: top.Y - 4}, number(q.y))
		case !cut && q.high > q.low:
			p.between(canvas.Ink, .7, q)
		}
	}
}

// A level is a line across the panel, with a word to it at one end.
type level struct {
	at   float64
	name string
	left bool // which end
}

func (l level) drawOn(p *panel) {
	if l.at < p.y.min || l.at > p.y.max {
		return
	}
	y := p.at(0, l.at).Y
	p.StrokeLine2(draw.LineStyle{Color: canvas.Faint, Width: .8, Dashes: []vg.Length{2, 2}}, p.Min.X, y, p.Max.X, y)
	if l.left {
		p.FillText(canvas.Style(8, canvas.Faint, text.XLeft, text.YBottom), vg.Point{X: p.Min.X + 3, Y: y + 1.5}, l.name)
	} else {
		p.FillText(canvas.Style(8, canvas.Faint, text.XRight, text.YBottom), vg.Point{X: p.Max.X - 3, Y: y + 1.5}, l.name)
	}
}

// A ring is drawn around one point.
type ring struct{ x, y float64 }

func (r ring) drawOn(p *panel) { p.DrawGlyphNoClip(bestMark, p.at(r.x, r.y)) }

var bestMark = draw.GlyphStyle{Color: canvas.Ink, Shape: draw.RingGlyph{}, Radius: 7}

// finite keeps the points that can be drawn, with bounds that can be.
func finite(points []point) []point {
	var out []point
	for _, q := range points {
		bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
		if bad(q.y) {
			continue
		}
		if bad(q.low) || bad(q.high) || q.low > q.y || q.high < q.y || q.low == 0 && q.high == 0 {
			q.low, q.high = q.y, q.y
		}
		out = append(out, q)
	}
	return out
}
