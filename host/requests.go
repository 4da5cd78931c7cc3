package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"pare/host/client"
	"pare/plugin"
)

// Each of these starts, joins or resumes the job that a request asks for. The job
// returned is attached.

func (js *jobs) prune(r client.PruneRequest) (*job, error) {
	selection, err := r.Selection()
	if err != nil {
		return nil, err
	}
	s, rec, err := newRecord(client.KindPrune, r.Model)
	if err != nil {
		return nil, err
	}
	rec.Selection, rec.Force, rec.What, rec.DryRun, rec.Discard = selection, r.Force, what(r), r.DryRun, r.Discard
	if r.Discard && (r.DryRun || r.Name != "") {
		return nil, plugin.Errorf(plugin.Invalid, "discard is for a result that is judged and not kept; leave name and dry_run out")
	}
	keeps := !r.DryRun && !r.Discard
	if keeps {
		name, err := parseName("name", r.Name)
		if err != nil {
			return nil, err
		}
		rec.Name = name.DisplayShortest()
	}
	var with texts
	if err := with.takeChoosing(js, s, r.Corpus, &rec.Corpus); err != nil {
		return nil, err
	}
	if err := with.takeEvaluate(r.Evaluate, &rec.Evaluate); err != nil {
		return nil, err
	}
	if r.Discard && rec.Evaluate.Level == plugin.LevelNone {
		return nil, plugin.Errorf(plugin.Invalid, "evaluate: level: a result that is discarded is made to be judged; give quick or full")
	}
	if err := with.takeRepair(r.Repair, rec); err != nil {
		return nil, err
	}
	if rec.Repair.Adapter {
		if err := s.loadsAdapters(); err != nil {
			return nil, err
		}
	}
	return js.start(rec, with, rec.nameFree(s))
}

// what says in a word how much a request removes, and how the rest is repaired if
// it says so.
func what(r client.PruneRequest) string {
	if r.Repair != nil && r.Repair.Method != "" && !r.DryRun {
		return removes(r) + ", " + r.Repair.Method
	}
	return removes(r)
}

func removes(r client.PruneRequest) string {
	switch {
	case r.Drop != nil:
		return fmt.Sprintf("%.4g%%", *r.Drop*100)
	case r.Layers != nil:
		if *r.Layers == 1 {
			return "1 layer"
		}
		return fmt.Sprintf("%d layers", *r.Layers)
	}
	return r.Range
}

func (js *jobs) profile(r client.ProfileRequest) (*job, error) {
	s, rec, err := newRecord(client.KindProfile, r.Model)
	if err != nil {
		return nil, err
	}
	rec.Add, rec.What = r.Add, "profile"
	if _, live := r.Corpus.Traffic(); live && r.Add {
		return nil, plugin.Errorf(plugin.Invalid, "add: a profile is of text or of traffic; leave it out")
	}
	var with texts
	if err := with.takeChoosing(js, s, r.Corpus, &rec.Corpus); err != nil {
		return nil, err
	}
	if r.Corpus != nil && r.Corpus.Name != "" {
		rec.What += " of " + r.Corpus.Name
	}
	return js.start(rec, with, always)
}

func (js *jobs) evaluate(r client.EvaluateRequest) (*job, error) {
	_, rec, err := newRecord(client.KindEvaluate, r.Model)
	if err != nil {
		return nil, err
	}
	rec.What = "evaluate"
	if rec.Bypass, err = client.Layers("bypass", r.Bypass); err != nil {
		return nil, err
	}
	if r.Other != "" && r.Bypass != "" {
		return nil, plugin.Errorf(plugin.Invalid, "give another model or the layers to leave out, not both")
	}
	if r.Level == plugin.LevelNone {
		return nil, plugin.Errorf(plugin.Invalid, "level: an evaluation measures something; give quick or full")
	}
	if r.Other != "" {
		other, err := lookUp("other", r.Other)
		if err != nil {
			return nil, err
		}
		rec.Other, rec.What = other.name.DisplayShortest(), "against "+other.name.DisplayShortest()
	} else if r.Bypass != "" {
		rec.What = "without " + r.Bypass
	}
	var with texts
	if err := with.takeEvaluate(&r.Evaluate, &rec.Evaluate); err != nil {
		return nil, err
	}
	return js.start(rec, with, always)
}

func (js *jobs) sweep(r client.SweepRequest) (*job, error) {
	s, rec, err := newRecord(client.KindSweep, r.Model)
	if err != nil {
		return nil, err
	}
	rec.What = "sweep"
	rec.Sweep = &sweepPlan{Rates: r.Rates, Criteria: r.Criteria, Seeds: r.Seeds, Tolerance: r.Tolerance, EachLayer: r.EachLayer}
	if rec.Sweep.Protect, err = client.Layers("protect", r.Protect); err != nil {
		return nil, err
	}
	if r.Seeds < 0 {
		return nil, plugin.Errorf(plugin.Invalid, "seeds is %d; give 1 or more", r.Seeds)
	}
	if r.Evaluate != nil && r.Evaluate.Level == plugin.LevelNone {
		return nil, plugin.Errorf(plugin.Invalid, "evaluate: level: a sweep measures something; give quick or full")
	}
	if r.Evaluate != nil && len(r.Evaluate.Tasks) > 0 {
		return nil, plugin.Errorf(plugin.Invalid, "evaluate: a sweep scores text alone; leave tasks out, and give them to /api/prune/evaluate")
	}
	var with texts
	if err := with.takeChoosing(js, s, r.Corpus, &rec.Corpus); err != nil {
		return nil, err
	}
	if err := with.takeEvaluate(r.Evaluate, &rec.Evaluate); err != nil {
		return nil, err
	}
	return js.start(rec, with, always)
}

func (js *jobs) merge(r client.MergeRequest) (*job, error) {
	s, err := find("model", r.Model)
	if err != nil {
		return nil, err
	}
	model := s.name.DisplayShortest()
	switch n := len(s.adapters); {
	case n == 0:
		return nil, plugin.Errorf(plugin.Refused, "model %q has no adapter to merge; it can be pruned as it is", model)
	case n > 1:
		return nil, severalAdapters(model, n)
	}
	if _, err := os.Stat(s.adapter().Path); errors.Is(err, fs.ErrNotExist) {
		return nil, plugin.Errorf(plugin.NotFound, "the adapter of model %q is missing from the store; pull or create the model again", model)
	}
	name, err := parseName("name", r.Name)
	if err != nil {
		return nil, err
	}
	rec := recordOf(client.KindMerge, s)
	rec.Adapter, rec.Name, rec.Force, rec.What = s.adapter().Digest, name.DisplayShortest(), r.Force, "merge"
	return js.start(rec, texts{}, rec.nameFree(s))
}

func always(*record) error { return nil }

// newRecord begins the record of a job on a model.
func newRecord(kind, model string) (stored, *record, error) {
	s, err := lookUp("model", model)
	if err != nil {
		return s, nil, err
	}
	return s, recordOf(kind, s), nil
}

func recordOf(kind string, s stored) *record {
	rec := &record{Digest: s.gguf.Digest}
	rec.Kind, rec.Model = kind, s.name.DisplayShortest()
	return rec
}
