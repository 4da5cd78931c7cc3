package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
	"pare/plugin/evaluate"
	"pare/plugin/heal"
	"pare/plugin/layers"
)

// Prune implements plugin.Pruner.
func (p Pipeline) Prune(ctx context.Context, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Report, error) {
	r, err := p.prune(ctx, j, h, event)
	return r, kinded(err)
}

func (p Pipeline) prune(ctx context.Context, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Report, error) {
	m, err := h.Model(ctx, j.Profile.Model)
	if err != nil {
		return plugin.Report{}, err
	}
	src, shape, err := open(m)
	if err != nil {
		return plugin.Report{}, err
	}
	defer src.Close()
	if err := checkEvaluate(j.Evaluate); err != nil {
		return plugin.Report{}, err
	}
	plan, err := p.plan(ctx, m, shape, j, h, event)
	if err != nil {
		return plugin.Report{}, err
	}
	used, err := everUsed(j.Profile.Folder, m, src)
	if err != nil {
		return plugin.Report{}, err
	}
	report := plugin.Report{
		Version: 1, Job: j.ID, Plan: plan, DryRun: j.DryRun, PluginName: "pare " + p.Version,
		Parent: infoOf(m, shape),
	}
	if !j.DryRun {
		if err := p.make(ctx, making{model: m, src: src, shape: shape, plan: plan, used: used, job: j}, h, event, &report); err != nil {
			return plugin.Report{}, err
		}
	}
	return report, save(filepath.Join(j.Folder, "report.json"), report)
}

// plan chooses the layers, tracing the model and running it without some of them
// if the choice needs it, and keeps the plan as plan.json.
func (p Pipeline) plan(ctx context.Context, m plugin.Model, shape convert.Model, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Plan, error) {
	c := choice{model: m, shape: shape, selection: j.Selection}
	trace, losses, err := c.needs()
	if err != nil {
		return plugin.Plan{}, err
	}
	live := j.Profile.Corpus.Live
	prof, err := c.measure(ctx, trace || live, j.Profile, h, event)
	if err != nil {
		return plugin.Plan{}, err
	}
	plan, err := c.decide(ctx, j.Profile, h, event)
	if losses && plugin.KindOf(err) == plugin.Unsupported && trace {
		plan, err = c.byDistance(fmt.Sprintf("by distance alone: the model cannot be run without some layers here (%v)", err))
	}
	if err != nil {
		return plugin.Plan{}, err
	}
	if live {
		if err := c.noteLive(&plan, prof, j.Profile.Folder); err != nil {
			return plugin.Plan{}, err
		}
	}
	event(plugin.Event{Stage: "plan", Status: fmt.Sprintf("removing layers %s of %d", layers.Format(plan.Remove), plan.Layers)})
	return plan, save(filepath.Join(j.Folder, "plan.json"), plan)
}

// measure sets the measurements that the choice is made by: those of a job's text or
// traffic if it needs them, with their profile, else those that are kept, if any.
func (c *choice) measure(ctx context.Context, needed bool, r plugin.ProfileRequest, h plugin.Host, event func(plugin.Event)) (prof plugin.Profile, err error) {
	if !needed {
		c.chunks, c.trace, err = keptTrace(r.Folder, c.model)
		return prof, err
	}
	prof, c.chunks, err = measure(ctx, c.model, c.shape, r, h, event)
	if err != nil {
		return prof, err
	}
	c.trace = prof.Trace
	// A job's own text is for this job: the kept profile is for all.
	if r.Corpus.Path == "" {
		return prof, keep(r.Folder, prof)
	}
	return prof, nil
}

// making is what a model is made from.
type making struct {
	model plugin.Model
	src   *gguf.File
	shape convert.Model
	plan  plugin.Plan
	used  usedText
	job   plugin.Job
}

// make cuts the model, repairs it, measures what that costs and registers the result.
func (p Pipeline) make(ctx context.Context, k making, h plugin.Host, event func(plugin.Event), report *plugin.Report) error {
	j := k.job
	if j.Evaluate.Level != plugin.LevelNone {
		// Better refused now than once the file is made.
		if _, err := scoredText(j.Evaluate.Corpus, k.used); err != nil {
			return err
		}
	}
	patient, err := p.patient(k)
	if err != nil {
		return err
	}
	if err := heal.Check(patient, k.src); err != nil {
		return err
	}
	c, err := p.cut(ctx, k.model, k.src, k.plan, j.Folder, event)
	if err != nil {
		return err
	}
	patient.Digest = c.Cut.Digest
	healed, err := k.heal(ctx, patient, h, event, report)
	if err != nil {
		return err
	}
	final := healed.Kept()
	size, err := os.Stat(final.Path)
	if err != nil {
		return fmt.Errorf("read the repaired model: %w", err)
	}
	report.Result = plugin.ModelInfo{
		Name: j.Name, Digest: final.Digest,
		Layers: c.Cut.LayersAfter, Bytes: size.Size(), Parameters: c.Cut.ParametersAfter,
	}
	if a := healed.Repaired.Adapter; a != nil {
		report.Result.Bytes += a.Bytes
	}
	if err := k.judge(ctx, healed.Stages, h, event, report); err != nil {
		return err
	}
	if j.Name == "" {
		return healed.Remove()
	}
	event(plugin.Event{Stage: "register", Status: "registering " + j.Name})
	made, err := h.Register(ctx, plugin.RegisterRequest{
		Parent: k.model.Name, Name: j.Name, Path: final.Path, Digest: final.Digest, Force: j.Force, Adapter: healed.Adapter,
	})
	if err != nil {
		return err
	}
	// The store has the file now; this was a second link to it.
	if err := healed.Remove(); err != nil {
		return fmt.Errorf("clean up the job's folder: %w", err)
	}
	report.Result.Name, report.Result.Digest = made.Name, made.Digest
	if report.Evaluation != nil {
		report.Evaluation.After.Name = made.Name
	}
	return nil
}

// patient is the cut model to be repaired, which need not be there yet. What it learns
// from is used text from then on, and nothing of what will be scored.
func (p Pipeline) patient(k making) (heal.Patient, error) {
	scored := usedText{}
	if k.job.Evaluate.Level != plugin.LevelNone {
		text, err := scoredText(k.job.Evaluate.Corpus, k.used)
		if err != nil {
			return heal.Patient{}, err
		}
		for _, d := range text.docs {
			scored.add(marks(d.Text))
		}
	}
	kept := plugin.ProfileFolder(k.job.Profile.Folder, k.model.Digest)
	return heal.Patient{
		Model: k.model, Layers: k.shape.Layers, Remove: k.plan.Remove, Cut: filepath.Join(k.job.Folder, "cut.gguf"),
		Settings: k.job.Repair, Folder: k.job.Folder, Kept: kept, Version: p.Version,
		Unfit: scored.holds, Learnt: func(texts []string) error { return noteTexts(kept, texts) },
	}, nil
}

// heal repairs the cut model.
func (k making) heal(ctx context.Context, patient heal.Patient, h plugin.Host, event func(plugin.Event), report *plugin.Report) (heal.Result, error) {
	result, err := heal.Heal(ctx, patient, h, event)
	if kind := plugin.KindOf(err); k.job.Repair.Unasked() && (kind == plugin.Unsupported || kind == plugin.Refused) {
		report.Unrepaired = err.Error()
		err = result.TakeBack()
	}
	if err != nil {
		return result, err
	}
	if did := result.Repaired.Settings; did.Method != plugin.RepairNone || did.Quantize != "" {
		report.Repair = &result.Repaired
	}
	return result, nil
}

// judge measures what the job costs, on the last of the files it made, and what each
// step of the repair gained, and keeps that as evaluation.json. A model that this machine's engine cannot score is made all the
// same; any other error ends the job, which goes on from here when asked again.
func (k making) judge(ctx context.Context, stages []heal.Stage, h plugin.Host, event func(plugin.Event), report *plugin.Report) error {
	config := k.job.Evaluate
	if config.Level == plugin.LevelNone {
		report.Unmeasured = "it was not asked for"
		return nil
	}
	kept := filepath.Join(k.job.Folder, "evaluation.json")
	b, err := openBook(plugin.ProfileFolder(k.job.Profile.Folder, k.model.Digest))
	if err != nil {
		return err
	}
	defer b.Close()
	final := stages[len(stages)-1]
	judging := judging{
		model: k.model, window: windowOf(k.shape), config: config, used: k.used,
		before: plugin.Measured{ModelInfo: report.Parent},
		after:  &plugin.Measured{ModelInfo: report.Result},
		other:  variant{final.Digest, plugin.Variant{Path: final.Path}},
	}
	if report.Repair != nil {
		for _, s := range stages[:len(stages)-1] {
			judging.also = append(judging.also, variant{s.Digest, plugin.Variant{Path: s.Path}})
		}
	}
	e, ok := earlier(kept, report.Result.Digest, config)
	if !ok {
		e, err = judging.judge(ctx, b, h, event)
	}
	if plugin.KindOf(err) == plugin.Unsupported {
		report.Unmeasured = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	report.Evaluation = &e
	if report.Repair != nil {
		if err := judging.stages(ctx, b, h, stages, report.Repair); err != nil {
			return err
		}
	}
	return save(kept, e)
}

// earlier returns what an earlier try of this job measured of the same file.
func earlier(path, digest string, config plugin.Evaluate) (plugin.Evaluation, bool) {
	var e plugin.Evaluation
	if !saved(path, &e) || e.Version != plugin.EvaluationVersion || e.After == nil || e.Verdict == nil {
		return e, false
	}
	return e, e.After.Digest == digest && e.Level == cmp.Or(config.Level, plugin.LevelQuick) &&
		e.Verdict.Thresholds == evaluate.WithDefaults(config.Thresholds)
}
