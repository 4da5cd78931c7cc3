package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
	"pare/plugin/evaluate"
	"pare/plugin/profile"
)

// What a sweep tries where the request does not say.
var (
	sweptRates    = []float64{0.1, 0.2, 0.3, 0.4, 0.5}
	sweptCriteria = []string{"auto", "angular", "influence", "deepest"}
)

const (
	sweptTokens = 2500 // of text, at the quick level
	layerTokens = 1000 // of text, for each layer alone
	mostSeeds   = 20
)

// Sweep implements plugin.Pruner.
func (p Pipeline) Sweep(ctx context.Context, r plugin.SweepRequest, h plugin.Host, event func(plugin.Event)) (plugin.Sweep, error) {
	s, err := p.sweep(ctx, r, h, event)
	return s, kinded(err)
}

func (p Pipeline) sweep(ctx context.Context, r plugin.SweepRequest, h plugin.Host, event func(plugin.Event)) (plugin.Sweep, error) {
	if err := checkSweep(&r); err != nil {
		return plugin.Sweep{}, err
	}
	m, err := h.Model(ctx, r.Profile.Model)
	if err != nil {
		return plugin.Sweep{}, err
	}
	src, shape, err := open(m)
	if err != nil {
		return plugin.Sweep{}, err
	}
	defer src.Close()
	w := &sweeping{request: r, model: m, shape: shape, src: src, host: h, event: event}
	s, err := w.run(ctx)
	if err != nil {
		return s, err
	}
	return s, save(filepath.Join(r.Folder, "report.json"), s)
}

// checkSweep fills in defaults and names the field at fault.
func checkSweep(r *plugin.SweepRequest) error {
	if len(r.Rates) == 0 {
		r.Rates = sweptRates
	}
	if len(r.Criteria) == 0 {
		r.Criteria = sweptCriteria
	}
	r.Seeds = max(r.Seeds, 1)
	r.Rates = slices.Compact(slices.Sorted(slices.Values(r.Rates)))
	for _, rate := range r.Rates {
		if !(rate > 0 && rate < 1) {
			return plugin.Errorf(plugin.Invalid, "sweep: rate %g is out of range; give shares of the layers above 0 and below 1", rate)
		}
	}
	r.Criteria = once(r.Criteria)
	for _, c := range r.Criteria {
		if !slices.Contains(profile.Criteria(), c) {
			return plugin.Errorf(plugin.Invalid, "sweep: there is no criterion %q; the criteria are %q", c, profile.Criteria())
		}
	}
	switch {
	case r.Seeds > mostSeeds:
		return plugin.Errorf(plugin.Invalid, "sweep: %d seeds are more than the %d allowed", r.Seeds, mostSeeds)
	case !(r.Tolerance >= 0) || math.IsInf(r.Tolerance, 0):
		return plugin.Errorf(plugin.Invalid, "sweep: tolerance %g is no rise of perplexity; 0.1 allows 10%%", r.Tolerance)
	}
	return checkEvaluate(r.Evaluate)
}

// once lists each string once, in the order of its first.
func once(all []string) (out []string) {
	for _, s := range all {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// sweeping is a sweep under way.
type sweeping struct {
	request plugin.SweepRequest
	model   plugin.Model
	shape   convert.Model
	src     *gguf.File
	host    plugin.Host
	event   func(plugin.Event)
	notes   []string
}

// A pick is what one criterion chose at one rate from one half of the text.
type pick struct {
	criterion string
	seed      int
	rate      float64
	remove    []int
}

func (w *sweeping) run(ctx context.Context) (plugin.Sweep, error) {
	r := w.request
	picks, err := w.choose(ctx)
	if err != nil {
		return plugin.Sweep{}, err
	}
	used, err := everUsed(r.Profile.Folder, w.model, w.src)
	if err != nil {
		return plugin.Sweep{}, err
	}
	b, err := openBook(plugin.ProfileFolder(r.Profile.Folder, w.model.Digest))
	if err != nil {
		return plugin.Sweep{}, err
	}
	defer b.Close()
	text, err := scoredText(r.Evaluate.Corpus, used)
	if err != nil {
		return plugin.Sweep{}, err
	}
	window := windowOf(w.shape)
	ps, err := passagesOf(ctx, w.host, w.model, text.docs, window)
	if err != nil {
		return plugin.Sweep{}, err
	}
	most := sweptTokens
	if r.Level == plugin.LevelFull {
		most = extents[plugin.LevelFull].tokens
	}
	ps, sampled := sample(ps, most)
	if err := w.score(ctx, b, picks, ps); err != nil {
		return plugin.Sweep{}, err
	}
	s := plugin.Sweep{
		Version: plugin.EvaluationVersion, Job: r.ID, Model: infoOf(w.model, w.shape), Tolerance: r.Tolerance,
		Before: evaluate.Text(b.chunks(ps, whole))[0], Corpora: []plugin.CorpusInfo{text.scored(ps)}, Protocol: protocol(window),
	}
	for _, k := range picks {
		s.Points = append(s.Points, w.point(b, ps, k))
	}
	if r.EachLayer {
		some := upTo(ps, layerTokens)
		s.Layers, s.LayersOf = w.layers(b, some), &evaluate.Text(b.chunks(some, whole))[0]
	}
	s.Best = best(s.Points, r.Tolerance)
	s.Notes = slices.Concat(w.notes, sampled, evaluate.TextNotes(s.Before))
	if s.Best != nil && len(s.Points) > 1 {
		s.Notes = append(s.Notes, fmt.Sprintf("the best was picked among %d cuts by this very text, which flatters it: confirm it with `pare prune`, or on other text", len(s.Points)))
	}
	return s, nil
}

// choose has each criterion choose at each rate, from the whole text and, with
// more than one seed, from halves of it.
func (w *sweeping) choose(ctx context.Context) (picks []pick, err error) {
	r := w.request
	c := choice{model: w.model, shape: w.shape}
	var prof plugin.Profile
	trace, err := w.needsTrace()
	if err != nil {
		return nil, err
	}
	if trace {
		if prof, c.chunks, err = measure(ctx, w.model, w.shape, r.Profile, w.host, w.event); err != nil {
			return nil, err
		}
		c.trace = prof.Trace
		if r.Profile.Corpus.Path == "" {
			if err := keep(r.Profile.Folder, prof); err != nil {
				return nil, err
			}
		}
	}
	refused := map[string]bool{}
	for _, criterion := range r.Criteria {
		for _, seed := range seeds(r.Seeds) {
			for _, rate := range r.Rates {
				of := c
				of.selection = w.selection(criterion, rate)
				of.half, of.status = seed, choosing(criterion, rate, seed)
				plan, err := of.decide(ctx, r.Profile, w.host, w.event)
				var cut *convert.CutError
				if errors.As(err, &cut) {
					refused[fmt.Sprintf("%s at %.4g%%: %v", criterion, rate*100, err)] = true
					continue
				}
				if err != nil {
					return nil, err
				}
				picks = append(picks, pick{criterion, seed, rate, plan.Remove})
			}
		}
	}
	for note := range refused {
		w.notes = append(w.notes, note)
	}
	slices.Sort(w.notes)
	if len(picks) == 0 {
		return nil, plugin.Errorf(plugin.Refused, "no cut of this model is possible at these rates: %s", w.notes[0])
	}
	return picks, nil
}

// needsTrace reports whether any choice takes a trace. It refuses a request that no
// trace could help; cuts that the architecture does not allow are noted later.
func (w *sweeping) needsTrace() (needed bool, err error) {
	for _, criterion := range w.request.Criteria {
		for _, rate := range w.request.Rates {
			trace, _, err := choice{model: w.model, shape: w.shape, selection: w.selection(criterion, rate)}.needs()
			var cut *convert.CutError
			if err != nil && !errors.As(err, &cut) {
				return false, err
			}
			needed = needed || trace
		}
	}
	return needed, nil
}

func (w *sweeping) selection(criterion string, rate float64) plugin.Selection {
	return plugin.Selection{Rate: rate, Criterion: criterion, Protect: w.request.Protect}
}

// seeds are 0 for all of the text, or those of as many halves.
func seeds(n int) []int {
	if n <= 1 {
		return []int{0}
	}
	out := make([]int, n)
	for i := range out {
		out[i] = i + 1
	}
	return out
}

// choosing is what a person reads while a criterion chooses.
func choosing(criterion string, rate float64, seed int) string {
	s := fmt.Sprintf("choosing %.4g%% by %s", rate*100, criterion)
	if seed > 0 {
		s += fmt.Sprintf(" from half %d of the text", seed)
	}
	return s
}

// score runs the model without each set of layers.
func (w *sweeping) score(ctx context.Context, b *book, picks []pick, ps []passage) error {
	vs := []variant{whole}
	for _, k := range picks {
		vs = append(vs, bypassing(k.remove))
	}
	vs = distinct(vs)
	var each []variant
	if w.request.EachLayer {
		each = append([]variant{whole}, eachLayer(w.shape.Layers)...)
	}
	few := upTo(ps, layerTokens)
	e := plugin.Event{Stage: "sweep", Status: "running the model without layers"}
	for _, p := range ps {
		e.Total += int64(len(p.Tokens) * len(vs))
	}
	for _, p := range few {
		e.Total += int64(len(p.Tokens) * len(each))
	}
	tell := func(tokens int64) {
		e.Completed += tokens
		w.event(e)
	}
	tell(0)
	if err := b.score(ctx, w.host, w.model, vs, ps, tell); err != nil || len(each) == 0 {
		return err
	}
	return b.score(ctx, w.host, w.model, each, few, tell)
}

func distinct(vs []variant) []variant {
	slices.SortStableFunc(vs, func(a, b variant) int { return cmp.Compare(a.name, b.name) })
	return slices.CompactFunc(vs, func(a, b variant) bool { return a.name == b.name })
}

// eachLayer lists the model without each layer, and ended before each layer.
func eachLayer(layers int) []variant {
	var vs []variant
	for l := range layers {
		vs = append(vs, bypassing([]int{l}), lens(l, layers))
	}
	return distinct(vs)
}

// lens is the model without a layer and all after it.
func lens(layer, layers int) variant {
	var after []int
	for l := layer; l < layers; l++ {
		after = append(after, l)
	}
	return bypassing(after)
}

// point is what a pick came to.
func (w *sweeping) point(b *book, ps []passage, k pick) plugin.SweepPoint {
	v := bypassing(k.remove)
	bytes, parameters := convert.Weight(w.src, k.remove)
	p := plugin.SweepPoint{
		Criterion: k.criterion, Seed: k.seed, Rate: k.rate, Remove: k.remove,
		Bytes: w.src.Size - bytes, Parameters: w.shape.Parameters - parameters,
		Text: evaluate.Text(b.chunks(ps, v)), Speed: b.speed(ps, v),
	}
	p.Verdict = evaluate.JudgeText(p.Text[0], w.request.Thresholds)
	return p
}

// speed compares how fast passages ran without the layers and with all, one right
// after the other.
func (b *book) speed(ps []passage, v variant) plugin.Range {
	var with, without []float64
	for _, p := range ps {
		t, _ := b.find(p, v)
		if t.Whole.Computed > 0 && t.Sums.Computed > 0 {
			with = append(with, t.Whole.Seconds/float64(t.Whole.Computed))
			without = append(without, t.Sums.Seconds/float64(t.Sums.Computed))
		}
	}
	return evaluate.Quartiles(with, without)
}

// layers tells what each layer is for.
func (w *sweeping) layers(b *book, ps []passage) []plugin.LayerScore {
	out := make([]plugin.LayerScore, w.shape.Layers)
	for l := range out {
		alone := evaluate.Text(b.chunks(ps, bypassing([]int{l})))[0]
		ended := b.chunks(ps, lens(l, w.shape.Layers))
		seen := evaluate.Text(ended)[0]
		out[l] = plugin.LayerScore{Layer: l, Rise: *alone.Rise, KL: *alone.KL, Lens: evaluate.Loss(ended), Agreement: *seen.Agreement}
	}
	return out
}

// best is the point with the most layers removed of those whose perplexity rises
// by no more than tolerance beyond doubt, the one of least rise among equals.
func best(points []plugin.SweepPoint, tolerance float64) *plugin.SweepPoint {
	if tolerance == 0 {
		return nil
	}
	var found *plugin.SweepPoint
	for i := range points {
		p := &points[i]
		if math.Expm1(p.Text[0].Rise.High) > tolerance {
			continue
		}
		if found == nil || len(p.Remove) > len(found.Remove) ||
			len(p.Remove) == len(found.Remove) && p.Text[0].Rise.Value < found.Text[0].Rise.Value {
			found = p
		}
	}
	return found
}
