package report

import (
	"fmt"
	"io"

	"gonum.org/v1/plot/vg/draw"

	"pare/plugin"
	"pare/plugin/phrase"
)

// PlotTraining draws how the training of a repair went as "png" or "svg": its loss
// at each step, that on held-out text where it was measured, and the step that was
// kept. [ErrNoFigure] says that nothing was trained. model is for the title.
func PlotTraining(w io.Writer, format, model string, r plugin.Repaired) error {
	if r.Training == nil || len(r.Training.Curve) == 0 {
		return fmt.Errorf("draw training: %w", ErrNoFigure)
	}
	t := *r.Training
	loss, held := losses(t.Curve)
	everyStep, measured := marks[5], marks[1]
	everyStep.Shape = nil // a line alone: there may be thousands
	y := lossAxis(loss, held)
	p := newPanel(lossName(r.Settings.Loss), stepAxis(t.Curve), y)
	p.add(series{mark: everyStep, points: loss}, series{mark: measured, points: held})
	c := chart{
		title:    plain(model) + ": training what is left",
		subtitle: fmt.Sprintf("%s; %s parameters trained, %s seen", plain(r.Settings.Method), parameters(uint64(max(0, t.Trained))), phrase.Many(t.Tokens, "token")),
		keys:     []key{{"trained on", draw.GlyphStyle{Color: everyStep.Color}, true}, {"held out", measured, true}},
		panels:   []*panel{p},
	}
	for _, q := range held {
		if int(q.x+.5) == t.Best {
			p.add(ring{q.x, q.y})
			c.keys = append(c.keys, key{fmt.Sprintf("kept: step %d", t.Best), bestMark, false})
		}
	}
	p.below = "step"
	if err := c.write(w, format); err != nil {
		return fmt.Errorf("draw training: %w", err)
	}
	return nil
}

// losses are both curves, without what is no number. Step 0, before training, has a
// held-out loss alone.
func losses(curve []plugin.TrainedStep) (loss, held []point) {
	for _, s := range curve {
		x := float64(s.Step)
		if s.Step > 0 {
			loss = append(loss, point{x, s.Loss, s.Loss, s.Loss})
		}
		if s.Held != nil {
			held = append(held, point{x, *s.Held, *s.Held, *s.Held})
		}
	}
	return finite(loss), finite(held)
}

// lossAxis is from the lowest loss to the highest, as zero is far below most.
func lossAxis(all ...[]point) axis {
	low, high := bounds(all)
	if !(high >= low) {
		return linear(0, "")
	}
	return scaled(low, "", all...)
}

// stepAxis is from 0 to the last step.
func stepAxis(curve []plugin.TrainedStep) axis {
	a := axis{max: 1}
	for _, s := range curve {
		a.max = max(a.max, float64(s.Step))
	}
	a.ticks = even(0, a.max, 8, "")
	a.max *= 1.02
	return a
}

// lossName names what a training minimised, with its unit.
func lossName(loss string) string {
	switch loss {
	case plugin.LossDistill:
		return "KL to the uncut model, nats"
	case plugin.LossNext:
		return "loss of the next token, nats"
	case plugin.LossHidden:
		return "error of the hidden states"
	}
	return "loss"
}
