// Package heatmap shows a profile to people: as a figure, a heat map of how far
// the residual stream turns across every block of layers with the curves of the
// single layers below it, and as a table for the terminal.
//
// Every number shown is one of the profile's, which is kept as JSON.
package heatmap

import (
	"errors"
	"fmt"
	"io"

	"gonum.org/v1/plot/vg"

	"pare/host/canvas"
	"pare/plugin"
)

// Options say what of a profile a figure shows, and how large. The zero value
// works.
type Options struct {
	Tokens string       // whose distances: "all" (default) or "last"
	Plan   *plugin.Plan // marks the layers it removes; may be nil
	Title  string       // "" for the model's digest
	Width  int          // of a PNG, pixels; 1280 if 0
	Height int          // of a PNG, pixels; 1360 if 0
}

// Validate names the field at fault.
func (o Options) Validate() error {
	if o.Tokens != "" && o.Tokens != "all" && o.Tokens != "last" {
		return fmt.Errorf(`tokens %q: use "all" or "last"`, o.Tokens)
	}
	for name, px := range map[string]int{"width": o.Width, "height": o.Height} {
		if px != 0 && (px < 640 || px > 8192) {
			return fmt.Errorf("%s %d: give 640 to 8192 pixels", name, px)
		}
	}
	return nil
}

// Write draws the profile. Column a and row n of the heat map show
// D[a][a+n], the mean angular distance between the streams that enter layers a
// and a+n: what removing the n layers from a would join. The best block of each
// size is marked, and so is the one that the plan removes. format is "png" or
// "svg"; the same input gives the same bytes. Nothing is written if it fails.
func Write(w io.Writer, format string, p plugin.Profile, o Options) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("draw profile: %w", err)
	}
	f, err := newFigure(p, o)
	if err != nil {
		return fmt.Errorf("draw profile: %w", err)
	}
	width, height := vg.Length(pixels(o.Width, 1280))*vg.Inch/canvas.DPI, vg.Length(pixels(o.Height, 1360))*vg.Inch/canvas.DPI
	if err := canvas.Write(w, format, width, height, f.draw); err != nil {
		return fmt.Errorf("draw profile: %w", err)
	}
	return nil
}

func pixels(n, unless int) int {
	if n == 0 {
		return unless
	}
	return n
}

// means picks one kind of token, and checks that it can be indexed by the
// profile's number of layers.
func means(p plugin.Profile, tokens string) (plugin.Means, error) {
	m := p.All
	if tokens == "last" {
		m = p.Last
	}
	if m.Tokens == 0 {
		return m, fmt.Errorf("the profile covers no tokens (%s): profile the model first", pick(tokens, "all"))
	}
	ok := p.Layers > 0 && len(m.Distance) == p.Layers+1 && len(m.Influence) == p.Layers &&
		len(m.Step) == p.Layers && len(m.Norm) == p.Layers+1
	for _, row := range m.Distance {
		ok = ok && len(row) == p.Layers+1
	}
	if !ok {
		return m, errors.New("the profile's tables do not match its number of layers: profile the model again")
	}
	return m, nil
}

// removed are the layers that a plan removes, after checking that they are the
// model's.
func removed(p plugin.Profile, plan *plugin.Plan) ([]int, error) {
	if plan == nil {
		return nil, nil
	}
	for i, l := range plan.Remove {
		if l < 0 || l >= p.Layers || i > 0 && l <= plan.Remove[i-1] {
			return nil, fmt.Errorf("the plan removes %v, which is no sorted set of layers 0 to %d", plan.Remove, p.Layers-1)
		}
	}
	return plan.Remove, nil
}

func pick(s, unless string) string {
	if s == "" {
		return unless
	}
	return s
}
