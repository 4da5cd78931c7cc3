package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"pare/plugin"
	"pare/plugin/corpus"
	"pare/plugin/evaluate"
	"pare/plugin/heal"
)

// A judging is one model to judge: the original, and what it is held against.
type judging struct {
	model  plugin.Model
	window int
	before plugin.Measured
	after  *plugin.Measured // nil to judge the model alone
	other  variant          // that After is of
	also   []variant        // stages on the way to it, of which text alone is scored

	config plugin.Evaluate
	used   usedText
}

// extent is how much a level runs.
type extent struct {
	tokens    int // of text, at most
	questions int // at most
	prompts   int
	answer    int // tokens of each
}

var extents = map[string]extent{
	plugin.LevelQuick: {tokens: 6000, questions: 80, prompts: 6, answer: 48},
	plugin.LevelFull:  {tokens: 200_000, questions: 100_000, prompts: 24, answer: 80},
}

// samples is how many answers a report shows side by side.
const samples = 3

// checkEvaluate refuses a configuration that cannot be followed, before any work.
func checkEvaluate(c plugin.Evaluate) error {
	switch c.Level {
	case "", plugin.LevelNone, plugin.LevelQuick, plugin.LevelFull:
	default:
		return plugin.Errorf(plugin.Invalid, "evaluate: there is no level %q; give none, quick or full", c.Level)
	}
	if err := evaluate.ValidateThresholds(c.Thresholds); err != nil {
		return plugin.Errorf(plugin.Invalid, "evaluate: %w", err)
	}
	if _, _, err := questionsOf(c.Tasks); err != nil {
		return err
	}
	_, err := scoredText(c.Corpus, nil)
	return err
}

// material is what models are judged on.
type material struct {
	text      []passage
	questions []question
	prompts   []string
	answer    int // tokens of each answer
	corpora   []plugin.CorpusInfo
	notes     []string // what was left out
}

// judge runs both models on all of it.
func (j *judging) judge(ctx context.Context, b *book, h plugin.Host, event func(plugin.Event)) (plugin.Evaluation, error) {
	level := j.config.Level
	if level == "" {
		level = plugin.LevelQuick
	}
	e := plugin.Evaluation{Version: plugin.EvaluationVersion, Level: level, Before: j.before, After: j.after}
	event(plugin.Event{Stage: "evaluate", Status: j.status()})
	mat, err := j.gather(ctx, h, extents[level])
	if err != nil {
		return e, err
	}
	e.Corpora, e.Protocol = mat.corpora, protocol(j.window)
	m := meter{event: event, status: j.status(), total: j.cost(mat)}
	if err := j.scoreAll(ctx, b, h, mat, m.add); err != nil {
		return e, err
	}
	e.Text = evaluate.Text(b.chunks(mat.text, j.other))
	before, after := b.answers(mat.questions, whole), []evaluate.Question(nil)
	if j.after != nil {
		after = b.answers(mat.questions, j.other)
	}
	e.Tasks = evaluate.Tasks(before, after)
	if err := j.generate(ctx, h, mat, &e, m.add); err != nil {
		return e, err
	}
	if err := j.weigh(ctx, h, &e); err != nil {
		return e, err
	}
	if j.after != nil {
		v := evaluate.Judge(&e, j.config.Thresholds)
		e.Verdict = &v
	}
	e.Notes = append(mat.notes, evaluate.Notes(&e)...)
	return e, nil
}

func (j *judging) status() string {
	if j.after == nil {
		return "measuring the model"
	}
	return "measuring what it costs"
}

// variants are those that are run beside the whole model.
func (j *judging) variants() []variant {
	if j.after == nil {
		return nil
	}
	return []variant{j.other}
}

// gather collects what is to be run.
func (j *judging) gather(ctx context.Context, h plugin.Host, size extent) (material, error) {
	mat := material{answer: size.answer}
	text, err := scoredText(j.config.Corpus, j.used)
	if err != nil {
		return mat, err
	}
	all, err := passagesOf(ctx, h, j.model, text.docs, j.window)
	if err != nil {
		return mat, err
	}
	mat.text, mat.notes = sample(all, size.tokens)
	asked, leftOut, err := questionsOf(j.config.Tasks)
	if err != nil {
		return mat, err
	}
	mat.notes = append(mat.notes, leftOut...)
	if n := len(asked); n > size.questions {
		asked = asked[:size.questions]
		mat.notes = append(mat.notes, fmt.Sprintf("a sample of the questions was asked: %d of %d", len(asked), n))
	}
	if mat.questions, err = passQuestions(ctx, h, j.model, asked, j.window); err != nil {
		return mat, err
	}
	mat.prompts = corpus.Prompts()
	mat.prompts = mat.prompts[:min(len(mat.prompts), size.prompts)]
	mat.corpora = []plugin.CorpusInfo{text.scored(mat.text), {Name: "questions", Digest: corpus.DigestQuestions(asked), Documents: len(asked)}}
	return mat, nil
}

// scoredText is the text to score: a user's, or Pare's own that is held out,
// without what was traced or chosen by. Each prefix is a fair sample of it.
func scoredText(c plugin.Corpus, used usedText) (pieces, error) {
	var all pieces
	if c.Path == "" {
		r, err := read(plugin.Corpus{})
		if err != nil {
			return all, err
		}
		all = r.held
	} else {
		given, err := readPieces(c)
		if err != nil {
			return all, err
		}
		all = given.shuffled()
	}
	left := all.only(func(i int) bool { return !used.holds(all.docs[i].Text) })
	if len(left.docs) == 0 {
		return left, plugin.Errorf(plugin.Invalid, "all of %s was used to choose layers, so scores on it would flatter; give other text, or none to use Pare's own", all.info.Name)
	}
	return left, nil
}

// scored records the pieces that passages are of.
func (p pieces) scored(ps []passage) plugin.CorpusInfo {
	ran := map[int]bool{}
	for _, q := range ps {
		ran[q.piece] = true
	}
	return p.only(func(i int) bool { return ran[i] }).info
}

// cost is how many tokens a judging runs.
func (j *judging) cost(mat material) int64 {
	variants := int64(max(1, len(j.variants())))
	var n int64
	for _, p := range mat.text {
		n += int64(len(p.Tokens)) * (variants + int64(len(j.also)))
	}
	for _, q := range mat.questions {
		for _, c := range q.choices {
			n += int64(len(c.Tokens)) * variants
		}
	}
	return n + int64(len(mat.prompts)*mat.answer*(1+len(j.variants())))
}

// A meter turns tokens into events.
type meter struct {
	event       func(plugin.Event)
	status      string
	done, total int64
}

func (m *meter) add(tokens int64) {
	m.done = min(m.done+tokens, m.total)
	m.event(plugin.Event{Stage: "evaluate", Status: m.status, Completed: m.done, Total: m.total})
}

func (j *judging) scoreAll(ctx context.Context, b *book, h plugin.Host, mat material, tell func(int64)) error {
	if err := b.score(ctx, h, j.model, append(j.variants(), j.also...), mat.text, tell); err != nil {
		return err
	}
	var choices []passage
	for _, q := range mat.questions {
		choices = append(choices, q.choices...)
	}
	return b.score(ctx, h, j.model, j.variants(), choices, tell)
}

// stages tells what each stage of a repair is worth on the text that the result was
// judged by; all of it was scored.
func (j *judging) stages(ctx context.Context, b *book, h plugin.Host, stages []heal.Stage, r *plugin.Repaired) error {
	mat, err := j.gather(ctx, h, extents[cmp.Or(j.config.Level, plugin.LevelQuick)])
	if err != nil {
		return err
	}
	vs := append(slices.Clone(j.also), j.other)
	if err := b.score(ctx, h, j.model, vs, mat.text, func(int64) {}); err != nil {
		return err
	}
	r.Stages = nil
	for i, s := range stages {
		t := evaluate.Text(b.chunks(mat.text, vs[i]))[0]
		if i == 0 {
			r.Stages = append(r.Stages, plugin.StageScore{Stage: "uncut", Perplexity: t.Before, Agreement: plugin.Estimate{Value: 1, Low: 1, High: 1}})
		}
		r.Stages = append(r.Stages, plugin.StageScore{Stage: s.Name, Perplexity: *t.After, Rise: t.Rise, KL: *t.KL, Agreement: *t.Agreement})
	}
	return nil
}

// generate has both models answer the prompts, in turns.
func (j *judging) generate(ctx context.Context, h plugin.Host, mat material, e *plugin.Evaluation, tell func(int64)) error {
	r := plugin.GenerateRequest{Model: j.model.Name, Variants: []plugin.Variant{{}}, Prompts: mat.prompts, MaxTokens: mat.answer}
	if j.after != nil {
		r.Variants = append(r.Variants, j.other.Variant)
	}
	answers := make([][]plugin.Answer, len(r.Variants))
	for i := range answers {
		answers[i] = make([]plugin.Answer, len(mat.prompts))
	}
	if err := h.Generate(ctx, r, func(a plugin.Answer) error {
		answers[a.Variant][a.Prompt] = a
		tell(int64(mat.answer))
		return nil
	}); err != nil {
		return err
	}
	e.Before.Prompt, e.Before.Generation = evaluate.Rates(answers[0])
	if j.after == nil {
		return nil
	}
	after := *e.After
	after.Prompt, after.Generation = evaluate.Rates(answers[1])
	e.After = &after
	e.Generation = evaluate.Generation(mat.prompts, words(answers[0]), words(answers[1]), samples)
	e.Speed = evaluate.Speed(answers[0], answers[1])
	return nil
}

func words(answers []plugin.Answer) []string {
	out := make([]string, len(answers))
	for i, a := range answers {
		out[i] = a.Text
	}
	return out
}

// weigh measures what each side takes in memory. Of one that is the same file
// without some layers nothing can be told.
func (j *judging) weigh(ctx context.Context, h plugin.Host, e *plugin.Evaluation) error {
	f, err := h.Footprint(ctx, j.model.Name, plugin.Variant{})
	if err != nil {
		return err
	}
	e.Before.Footprint = &f
	if e.After == nil || len(j.other.Bypass) > 0 {
		return nil
	}
	g, err := h.Footprint(ctx, j.model.Name, j.other.Variant)
	if err != nil {
		return err
	}
	e.After.Footprint = &g
	return nil
}

// protocol says how text was scored.
func protocol(window int) string {
	return fmt.Sprintf("A text of more than %d tokens is cut into chunks of %d, of which those from number %d on are scored (llama.cpp's protocol); "+
		"a shorter one is a chunk of which all tokens but the first are. "+
		"Each chunk runs from an empty context and begins with the token that begins a prompt, if the model has one. %s",
		window, window, window/2+2, evaluate.Protocol)
}
