package heatmap

import (
	"fmt"
	"math"
	"strings"

	"golang.org/x/image/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"pare/host/canvas"
	"pare/plugin"
	"pare/plugin/layers"
	"pare/plugin/phrase"
)

// A figure is a profile about to be drawn.
type figure struct {
	layers    int
	top       int // largest b of the pairs (a, b) drawn: L, or L-1 where x_L was not traced
	m         plugin.Means
	low, high float64 // of the distances drawn
	remove    []int
	title     string
	subtitle  string
	chosen    []string // what the legend says of the plan, by lines
}

func newFigure(p plugin.Profile, o Options) (*figure, error) {
	m, err := means(p, o.Tokens)
	if err != nil {
		return nil, err
	}
	remove, err := removed(p, o.Plan)
	if err != nil {
		return nil, err
	}
	f := &figure{layers: p.Layers, top: p.Layers, m: m, remove: remove, low: math.Inf(1), high: math.Inf(-1),
		title: plain(pick(o.Title, "Model "+short(p.Model)))}
	if m.OutTokens == 0 {
		f.top--
	}
	for a := range f.top {
		for b := a + 1; b <= f.top; b++ {
			f.low, f.high = min(f.low, m.Distance[a][b]), max(f.high, m.Distance[a][b])
		}
	}
	if f.top == 0 || math.IsNaN(f.low+f.high) || math.IsInf(f.low+f.high, 0) {
		return nil, fmt.Errorf("the profile of %d layers holds no distance to draw: profile the model again", p.Layers)
	}
	f.subtitle = fmt.Sprintf("%s, %d layers; %s; %s in %s%s", pick(p.Architecture, "unknown architecture"), p.Layers, whose(o.Tokens),
		phrase.Many(m.Tokens, "token"), phrase.Many(int64(p.Chunks), "chunk"), of(p.Corpora))
	f.subtitle = plain(f.subtitle)
	if len(remove) > 0 {
		f.chosen = append(f.chosen, "the plan: "+abridge(layers.Phrase(remove)))
		if c := o.Plan.Chosen; c.Score != 0 {
			f.chosen = append(f.chosen, fmt.Sprintf("%s %s", o.Plan.Criterion, score(o.Plan)))
		}
	}
	return f, nil
}

// score is the score of the plan's choice with its interval, and with its unit
// where it is none of the distances that are drawn.
func score(p *plugin.Plan) string {
	c, unit := p.Chosen, ""
	if len(p.Text) > 0 {
		unit = " nats a token"
	}
	s := fmt.Sprintf("%.4g%s", c.Score, unit)
	if c.Drawn() {
		s += fmt.Sprintf(" (95%%: %.4g to %.4g)", c.Low, c.High)
	}
	return s
}

// whose names the tokens that distances were averaged over.
func whose(tokens string) string {
	if tokens == "last" {
		return "output tokens only"
	}
	return "all tokens but each first"
}

func of(corpora []plugin.CorpusInfo) string {
	var names []string
	for _, c := range corpora {
		names = append(names, c.Name)
	}
	if len(names) > 3 {
		names = append(names[:3], fmt.Sprintf("%d more", len(names)-3))
	}
	if len(names) == 0 {
		return ""
	}
	return " of " + strings.Join(names, ", ")
}

// draw lays the figure out: title, heat map with its colour bar, and the curves
// of the single layers under it, on the same scale of layers.
func (f *figure) draw(c draw.Canvas) {
	const left, right, above, below, gap = 58, 72, 48, 34, 44
	c.FillPolygon(canvas.White, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}})
	title := canvas.Style(13, canvas.Ink, text.XLeft, text.YTop)
	title.Font.Weight = font.WeightBold
	c.FillText(title, vg.Point{X: c.Min.X + left, Y: c.Max.Y - 12}, f.title)
	c.FillText(canvas.Style(8.5, canvas.Faint, text.XLeft, text.YTop), vg.Point{X: c.Min.X + left, Y: c.Max.Y - 30}, f.subtitle)

	height := c.Max.Y - c.Min.Y - above - below - gap - 12
	curve := height * .17
	place := func(bottom, height vg.Length) panel {
		p := panel{Canvas: c, x0: -.5, x1: float64(f.layers) - .5}
		p.Min = vg.Point{X: c.Min.X + left, Y: bottom}
		p.Max = vg.Point{X: c.Max.X - right, Y: bottom + height}
		return p
	}
	influence := place(c.Min.Y+below, curve)
	distance := place(influence.Max.Y+12, curve)
	cells := place(distance.Max.Y+gap, height-2*curve)
	f.heat(cells)
	f.bar(cells)
	f.curve(distance, "distance to next", f.single())
	f.curve(influence, "block influence", f.m.Influence[:f.top])
	influence.across(round(0, float64(f.layers-1), 16, true), "layer")
}

// single is the distance of each layer to the next.
func (f *figure) single() []float64 {
	d := make([]float64, f.top)
	for l := range d {
		d[l] = f.m.Distance[l][l+1]
	}
	return d
}
