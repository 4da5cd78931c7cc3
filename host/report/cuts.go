package report

import (
	"cmp"
	"math"
	"slices"

	"pare/plugin"
)

// A cut is what a sweep found for one number of layers and one criterion, over
// all seeds. A range is the mean with the lowest and highest of the seeds where
// they chose different layers, and else the estimate with its 95% interval.
type cut struct {
	Removed   int // layers
	Criterion string
	Rate      float64
	Remove    []int // as the first seed chose
	Others    int   // other sets that further seeds chose
	Bytes     int64
	Ratio     plugin.Range // of the perplexities, after / before
	KL        plugin.Range // nats a token
	Agreement plugin.Range
	Speed     plugin.Range       // after / before
	Styles    []plugin.TextScore // of the first seed; the first, "all", over all of them
	Say       string             // the least favourable of the verdicts
}

// cuts groups the points of a sweep by number of layers and, as they first
// appear in it, by criterion. Points that hold no score are left out.
func cuts(s plugin.Sweep) []cut {
	type key struct {
		layers    int
		criterion string
	}
	groups := map[key][]plugin.SweepPoint{}
	var keys []key
	for _, p := range s.Points {
		if len(p.Text) == 0 || p.Text[0].Rise == nil || math.IsNaN(p.Text[0].Rise.Value) {
			continue
		}
		k := key{len(p.Remove), p.Criterion}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], p)
	}
	order := criteria(s)
	slices.SortStableFunc(keys, func(a, b key) int {
		return cmp.Or(a.layers-b.layers, slices.Index(order, a.criterion)-slices.Index(order, b.criterion))
	})
	var out []cut
	for _, k := range keys {
		out = append(out, group(groups[k]))
	}
	return out
}

// criteria lists a sweep's criteria as they first appear in it.
func criteria(s plugin.Sweep) []string {
	var names []string
	for _, p := range s.Points {
		if !slices.Contains(names, p.Criterion) {
			names = append(names, p.Criterion)
		}
	}
	return names
}

// group sums up the points of one number of layers and one criterion.
func group(points []plugin.SweepPoint) cut {
	slices.SortStableFunc(points, func(a, b plugin.SweepPoint) int { return a.Seed - b.Seed })
	p := points[0]
	c := cut{Removed: len(p.Remove), Criterion: p.Criterion, Rate: p.Rate, Remove: p.Remove, Bytes: p.Bytes, Styles: p.Text, Say: p.Verdict.Say}
	var sets [][]int
	for _, q := range points {
		if !slices.ContainsFunc(sets, func(s []int) bool { return slices.Equal(s, q.Remove) }) {
			sets = append(sets, q.Remove)
		}
		if severity(q.Verdict.Say) > severity(c.Say) {
			c.Say = q.Verdict.Say
		}
	}
	c.Others = len(sets) - 1
	over := func(estimate func(plugin.SweepPoint) *plugin.Estimate) plugin.Range {
		return overSeeds(points, c.Others > 0, estimate)
	}
	rise := over(func(p plugin.SweepPoint) *plugin.Estimate { return p.Text[0].Rise })
	c.Ratio = plugin.Range{Median: math.Exp(rise.Median), Low: math.Exp(rise.Low), High: math.Exp(rise.High)}
	c.KL = over(func(p plugin.SweepPoint) *plugin.Estimate { return p.Text[0].KL })
	c.Agreement = over(func(p plugin.SweepPoint) *plugin.Estimate { return p.Text[0].Agreement })
	c.Speed = over(func(p plugin.SweepPoint) *plugin.Estimate {
		return &plugin.Estimate{Value: p.Speed.Median, Low: p.Speed.Low, High: p.Speed.High}
	})
	return c
}

// overSeeds is the mean of an estimate with its range over the seeds, or the
// first seed's own interval where they chose alike.
func overSeeds(points []plugin.SweepPoint, differ bool, estimate func(plugin.SweepPoint) *plugin.Estimate) plugin.Range {
	first := estimate(points[0])
	if first == nil {
		return plugin.Range{Median: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	if !differ {
		return plugin.Range{Median: first.Value, Low: first.Low, High: first.High}
	}
	r := plugin.Range{Low: math.Inf(1), High: math.Inf(-1)}
	n := 0.0
	for _, p := range points {
		if e := estimate(p); e != nil {
			r.Median, r.Low, r.High, n = r.Median+e.Value, min(r.Low, e.Value), max(r.High, e.Value), n+1
		}
	}
	r.Median /= n
	return r
}

func severity(say string) int {
	return slices.Index([]string{plugin.SayKeep, plugin.SayRepair, plugin.SayTooMuch}, say)
}
