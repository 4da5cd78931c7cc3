package report

import (
	"fmt"
	"io"

	"pare/plugin"
)

// PlotLayers draws as "png" or "svg" what each single layer of a sweep's model
// is for: the rise of the log-loss without it, and the log-loss and agreement
// of the model when it ends before it. [ErrNoFigure] says that the sweep did
// not look at single layers.
func PlotLayers(w io.Writer, format string, s plugin.Sweep) error {
	if len(s.Layers) == 0 {
		return fmt.Errorf("draw layers: %w", ErrNoFigure)
	}
	var rise, lens, agree []point
	var all []int
	for _, l := range s.Layers {
		x := float64(l.Layer)
		rise = append(rise, point{x, l.Rise.Value, l.Rise.Low, l.Rise.High})
		lens = append(lens, point{x, l.Lens.Value, l.Lens.Low, l.Lens.High})
		agree = append(agree, point{x, 100 * l.Agreement.Value, 100 * l.Agreement.Low, 100 * l.Agreement.High})
		all = append(all, l.Layer)
	}
	rise, lens, agree = finite(rise), finite(lens), finite(agree)
	x := counted(all, .6)
	blue, orange := marks[0], marks[1]
	blue.Radius, orange.Radius = 2.2, 2

	y := axis{max: 1.04 * barEnd(s.Layers)}
	for _, q := range rise {
		y.min = min(y.min, q.low)
	}
	if y.max <= y.min {
		y.max = y.min + 1
	}
	y.ticks = even(y.min, y.max, 6, "")
	alone := newPanel("rise without it, nats", x, y)
	alone.add(bars{blue, rise})
	if y.min < 0 {
		alone.add(level{})
	}
	loss := newPanel("lens loss, nats", x, linear(0, "", lens))
	loss.add(series{mark: orange, points: lens}, level{at: wholeLoss(s), name: "the whole model", left: true})
	same := newPanel("lens agrees, %", x, linear(0, "", agree, []point{{0, 100, 0, 100}}))
	same.add(series{mark: orange, points: agree})
	same.below = "layer"
	c := chart{
		title:    plain(s.Model.Name) + ": what each layer is for",
		subtitle: "above: each layer left out alone (bars that reach the top go on); below, the logit lens: the model ends before the layer",
		panels:   []*panel{alone, loss, same},
	}
	if err := c.write(w, format); err != nil {
		return fmt.Errorf("draw layers: %w", err)
	}
	return nil
}
