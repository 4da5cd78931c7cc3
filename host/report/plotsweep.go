package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"pare/plugin"
	"pare/plugin/phrase"
)

// PlotSweep draws a sweep as "png" or "svg": what is lost (the ratio of the
// perplexities and the KL divergence) and what is won (size and speed) against
// the number of layers removed. Bounds are those of the table: of 95%, or over
// the seeds where these chose different layers. The same sweep gives the same
// bytes; nothing is written if it fails.
func PlotSweep(w io.Writer, format string, s plugin.Sweep) error {
	list := cuts(s)
	if len(list) == 0 {
		return fmt.Errorf("draw sweep: no cut in it was scored: %w", ErrNoFigure)
	}
	names := criteria(s)
	c := chart{
		title: plain(s.Model.Name) + ": what removing layers costs",
		subtitle: fmt.Sprintf("%s; perplexity %s without a cut, on %s in %s; layers bypassed, no file written",
			phrase.Many(int64(s.Model.Layers), "layer"), number(s.Before.Before.Value), phrase.Many(s.Before.Tokens, "token"), phrase.Many(int64(s.Before.Chunks), "chunk")),
	}
	for i, name := range names {
		c.keys = append(c.keys, key{clip(plain(name), widest), marks[i%len(marks)], true})
	}
	c.keys = append(c.keys, key{"file size", sizeMark, true})
	if s.Best != nil {
		c.keys = append(c.keys, key{fmt.Sprintf("best within +%s", asked(s.Tolerance)), bestMark, false})
	}
	c.panels = sweepPanels(s, list, names)
	if err := c.write(w, format); err != nil {
		return fmt.Errorf("draw sweep: %w", err)
	}
	return nil
}

// sweepPanels are the perplexity, the KL divergence, and size with speed.
func sweepPanels(s plugin.Sweep, list []cut, names []string) []*panel {
	removed := make([]int, len(list))
	for i, c := range list {
		removed[i] = c.Removed
	}
	span := float64(removed[len(removed)-1] - removed[0])
	x := counted(slices.Compact(removed), max(.6, .04*span))
	ratios := curves(list, names, func(c cut) plugin.Range { return c.Ratio })
	kls := curves(list, names, func(c cut) plugin.Range { return c.KL })
	speeds := curves(list, names, func(c cut) plugin.Range { return c.Speed })

	ratioPanel := newPanel("perplexity, after / before", x, scaled(1, "×", pointsOf(ratios)...))
	if s.Tolerance > 0 {
		ratioPanel.add(level{at: 1 + s.Tolerance, name: "+" + asked(s.Tolerance)})
	}
	klPanel := newPanel("KL, nats a token", x, scaled(0, "", pointsOf(kls)...))
	if i := slices.IndexFunc(s.Points, func(p plugin.SweepPoint) bool { return p.Verdict.Thresholds.RepairKL > 0 }); i >= 0 {
		t := s.Points[i].Verdict.Thresholds
		klPanel.add(level{at: t.KeepKL, name: "keep below"}, level{at: t.RepairKL, name: "repair below"})
	}
	sizes := series{mark: sizeMark, points: sizePoints(s, list), dashed: true}
	costPanel := newPanel("speed and size, × whole", x, scaled(1, "×", append(pointsOf(speeds), sizes.points)...))
	costPanel.add(level{at: 1}, sizes)
	costPanel.below = fmt.Sprintf("layers removed, of %d", s.Model.Layers)
	for i := range names {
		ratioPanel.add(ratios[i])
		klPanel.add(kls[i])
		costPanel.add(speeds[i])
	}
	if i := bestCurve(s, names); i >= 0 {
		n := len(s.Best.Remove)
		ratioPanel.mark(ratios[i], n)
		klPanel.mark(kls[i], n)
		costPanel.mark(speeds[i], n)
	}
	return []*panel{ratioPanel, klPanel, costPanel}
}

// bestCurve is the index of the criterion that found the best cut, or -1.
func bestCurve(s plugin.Sweep, names []string) int {
	if s.Best == nil {
		return -1
	}
	return slices.Index(names, s.Best.Criterion)
}

// mark rings the point of a curve at n layers removed.
func (p *panel) mark(s series, n int) {
	for _, q := range s.points {
		if int(q.x+.5) == n {
			p.add(ring{q.x, q.y})
		}
	}
}

// curves are one series for each criterion, set a little apart so that their
// bounds do not hide each other.
func curves(list []cut, names []string, of func(cut) plugin.Range) []series {
	span := float64(max(1, list[len(list)-1].Removed-list[0].Removed))
	out := make([]series, len(names))
	for i, name := range names {
		out[i].mark = marks[i%len(marks)]
		shift := (float64(i) - float64(len(names)-1)/2) * min(.1, span/120)
		for _, c := range list {
			if r := of(c); c.Criterion == name {
				out[i].points = append(out[i].points, point{float64(c.Removed) + shift, r.Median, r.Low, r.High})
			}
		}
		out[i].points = finite(out[i].points)
	}
	return out
}

func pointsOf(all []series) [][]point {
	var out [][]point
	for _, s := range all {
		out = append(out, s.points)
	}
	return out
}

// sizePoints are the sizes of the files, as shares of the whole one. Layers are
// not always of one size; the smallest file for each number of layers counts.
func sizePoints(s plugin.Sweep, list []cut) []point {
	smallest := map[int]int64{}
	for _, c := range list {
		if c.Bytes > 0 && s.Model.Bytes > 0 {
			smallest[c.Removed] = min(c.Bytes, cmp.Or(smallest[c.Removed], c.Bytes))
		}
	}
	var out []point
	for n, bytes := range smallest {
		v := float64(bytes) / float64(s.Model.Bytes)
		out = append(out, point{float64(n), v, v, v})
	}
	slices.SortFunc(out, func(a, b point) int { return cmp.Compare(a.x, b.x) })
	return out
}
