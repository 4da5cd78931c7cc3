package report

import (
	"fmt"
	"math"

	"pare/plugin"
)

// The reports here are made up, but shaped like real ones: SmolLM2-135M with
// six of its layers cut, and sweeps over it and over a model of 80 layers.

func estimate(v, halfWidth float64) plugin.Estimate {
	return plugin.Estimate{Value: v, Error: halfWidth / 1.96, Low: v - halfWidth, High: v + halfWidth}
}

func ref(v, halfWidth float64) *plugin.Estimate {
	e := estimate(v, halfWidth)
	return &e
}

func styled(style string, chunks int, before, rise, kl, agreement float64) plugin.TextScore {
	return plugin.TextScore{
		Style: style, Chunks: chunks, Tokens: int64(chunks) * 256, Before: estimate(before, before*.07),
		After: ref(before*math.Exp(rise), before*math.Exp(rise)*.08), Rise: ref(rise, .05), KL: ref(kl, .04), Agreement: ref(agreement, .012),
	}
}

func task(kind string, questions int, chance, before, after float64) plugin.TaskScore {
	return plugin.TaskScore{Name: kind, Questions: questions, Chance: chance, Before: estimate(before, .069),
		After: ref(after, .062), Change: ref(after-before, .051)}
}

var (
	whole = plugin.ModelInfo{Name: "smollm2:latest", Digest: "sha256:4cdb7a6bd7e3", Layers: 30, Bytes: 270_885_024, Parameters: 134_515_008}
	small = plugin.ModelInfo{Name: "smollm2-small:latest", Digest: "sha256:9f1e22c0a5d1", Layers: 24, Bytes: 219_730_624, Parameters: 113_273_088}
	sense = plugin.Thresholds{KeepKL: .1, KeepLoss: .02, RepairKL: 1, RepairLoss: .5}
)

func evaluation() plugin.Evaluation {
	return plugin.Evaluation{
		Version: 1, Level: plugin.LevelQuick,
		Before: plugin.Measured{ModelInfo: whole, Prompt: 612.4, Generation: 38.1,
			Footprint: &plugin.Footprint{Resident: 512 << 20, KVPerToken: 23040, ContextTokens: 2048}},
		After: &plugin.Measured{ModelInfo: small, Prompt: 744.2, Generation: 46.3,
			Footprint: &plugin.Footprint{Resident: 431 << 20, KVPerToken: 18432, ContextTokens: 2048}},
		Text: []plugin.TextScore{styled("all", 40, 25.2, .957, .902, .471), styled("encyclopedia", 12, 25.2, .96, .90, .47),
			styled("dialogue", 10, 19.8, .88, .81, .52), styled("code", 9, 6.1, 1.52, 1.42, .39), styled("German", 9, 64.3, .79, .74, .44)},
		Tasks: []plugin.TaskScore{task("all", 200, .25, .445, .275), task("commonsense", 80, .25, .48, .31), task("arithmetic", 60, .25, .52, .21),
			task("reading", 60, .25, .33, .33)},
		Generation: &plugin.Generation{Prompts: 12, ChrF: 24.3, BLEU: 6.2, RepetitionBefore: .041, RepetitionAfter: .283, LanguageChanged: 1,
			Samples: []plugin.Sample{{Prompt: "Why is the sky blue?", Before: "Because air scatters short waves of light more than long ones.",
				After: "The sky is blue because the sky is blue.\n\nThe sky is blue."},
				{Prompt: "Write a loop in Go.", Before: "```go\nfor i := range 10 {\n\tfmt.Println(i)\n}\n```", After: "```go\nfor i = 10 {\n```"}}},
		Speed: &plugin.SpeedRatio{Pairs: 8, Prompt: plugin.Range{Median: 1.22, Low: 1.17, High: 1.26}, Generation: plugin.Range{Median: 1.21, Low: 1.18, High: 1.25}},
		Verdict: &plugin.Verdict{Say: plugin.SayRepair, Thresholds: sense,
			Reason: "KL 0.90 nats a token from the whole model (keep: up to 0.10), the same next token 47% of the time, 13% of the right answers above chance left; arithmetic suffered most"},
		Corpora:  []plugin.CorpusInfo{{Name: "default", Digest: "sha256:fedcba9876543210", Documents: 18}},
		Protocol: "chunks of 512 tokens, the second half of each scored",
		Notes:    []string{"40 chunks are few: the perplexity is known to 7% only."},
	}
}

func aloneEvaluation() plugin.Evaluation {
	e := evaluation()
	e.After, e.Speed, e.Verdict, e.Generation, e.Notes = nil, nil, nil, nil, nil
	for i := range e.Text {
		t := &e.Text[i]
		t.After, t.Rise, t.KL, t.Agreement = nil, nil, nil, nil
	}
	for i := range e.Tasks {
		e.Tasks[i].After, e.Tasks[i].Change = nil, nil
	}
	return e
}

func job() plugin.Report {
	e := evaluation()
	return plugin.Report{
		Version: 1, Job: "prune-1", Parent: whole, Result: small, PluginName: "pare", Evaluation: &e,
		Plan: plugin.Plan{Version: 1, Model: whole.Digest, Profile: "sha256:0a1b2c3d4e5f", Criterion: "auto", TokensUsed: "all", Tokens: 12288, Chunks: 24,
			Text:   []plugin.CorpusInfo{{Name: "default", Digest: "sha256:13579bdf02468ace", Documents: 9}},
			Layers: 30, Remove: []int{13, 14, 15, 16, 17, 18},
			Chosen: plugin.Candidate{Remove: []int{13, 14, 15, 16, 17, 18}, Score: .957, Low: .921, High: .993, Wins: .93},
			Alternatives: []plugin.Candidate{{Remove: []int{14, 15, 16, 17, 18, 19}, Score: 1.003, Low: .962, High: 1.044, Wins: .06},
				{Remove: []int{12, 13, 14, 15, 16, 17}, Score: 1.12, Low: 1.07, High: 1.17, Wins: .01}},
			Notes: []string{"Layers 14-19 are nearly as good: on other text they might win."}},
	}
}

// repaired is a job that healed what it cut, by closed form and then by training.
func repaired() plugin.Report {
	r := job()
	r.Evaluation.Text[0], r.Evaluation.Tasks[0] = styled("all", 40, 25.2, .331, .388, .652), task("all", 200, .25, .445, .365)
	r.Evaluation.Verdict.Reason = "KL 0.39 nats a token from the whole model (keep: up to 0.10), the same next token 65% of the time"
	stage := func(name string, perplexity, kl, agreement float64) plugin.StageScore {
		return plugin.StageScore{Stage: name, Perplexity: estimate(perplexity, .07*perplexity), KL: estimate(kl, .05*kl), Agreement: estimate(agreement, .012)}
	}
	r.Repair = &plugin.Repaired{
		Settings: plugin.Repair{Method: plugin.RepairLinearQLoRA, Loss: plugin.LossDistill, Targets: "all", Layers: "above", Rank: 8, Alpha: 16,
			Steps: 100, Batch: 4, Length: 256, Accumulate: 1, LearningRate: 5e-4, WarmUp: 10, Clip: 1},
		Data:   []plugin.CorpusInfo{{Name: plugin.DataSelf, Digest: "sha256:aa11bb22cc33dd44", Documents: 320}},
		Linear: []plugin.LinearFit{{Layer: 12, Tokens: 32768, Ridge: .001, Error: .437}},
		Training: &plugin.Training{Trained: 2_433_024, Tokens: 102_400, Best: 90, Seconds: 372, PeakMemory: 2_140_000_000,
			Stopped: "the held-out loss rose three times in a row"},
		Merge:  &plugin.Merge{Tensors: 127, Kept: .963, Promoted: []string{"blk.11.ffn_down.weight: Q8_0, as Q4_1 kept 71%", "blk.12.ffn_down.weight: Q8_0, as Q4_1 kept 80%"}},
		Stages: []plugin.StageScore{stage("uncut", 25.2, 0, 1), stage("cut", 65.7, .902, .471), stage("closed form", 42.6, .512, .61), stage("trained", 35.1, .391, .65)},
		Notes:  []string{"The answers of the uncut model were made for an earlier repair of it."},
	}
	for step := 1; step <= 100; step++ {
		at := plugin.TrainedStep{Step: step, Loss: .36 + .2*math.Exp(-float64(step)/25) + .02*math.Sin(float64(7*step)), Rate: 5e-4, Norm: 1, Tokens: 275}
		if step%10 == 0 {
			held := .39 + .17*math.Exp(-float64(step)/22) + .003*max(0, float64(step-90))
			at.Held = &held
		}
		r.Repair.Training.Curve = append(r.Repair.Training.Curve, at)
	}
	return r
}

// trials are ways to repair one cut, of which one did not fit into memory.
func trials() []Trial {
	trial := func(strategy string, seconds, kl, agreement, right float64, memory int64) Trial {
		r := repaired()
		all := &r.Evaluation.Text[0]
		all.KL, all.Rise, all.Agreement = ref(kl, .05*kl), ref(kl*1.06, .05), ref(agreement, .012)
		r.Evaluation.Tasks[0].After = ref(right, .06)
		r.Result.Name, r.Evaluation.After.Name, r.Repair.Training.PeakMemory = "", "", memory
		if memory == 0 {
			r.Repair.Training = nil
		}
		return Trial{Strategy: strategy, Report: &r, Seconds: seconds}
	}
	return []Trial{
		trial("none", 0, .902, .471, .275, 0), trial("linear", 74, .512, .61, .31, 0), trial("qlora-4bit-r16", 521, .46, .63, .325, 2.3e9),
		trial("linear+qlora", 603, .391, .65, .345, 2.1e9), trial("partial", 388, .404, .64, .335, 3.4e9),
		{Strategy: "full", Failed: "training every layer would take 9.1 GB, and 6.2 GB are free; give a batch of 1"},
	}
}

// sweep removes n layers of a model of L, by four criteria and with seeds.
func sweep(layers, seeds int) plugin.Sweep {
	s := plugin.Sweep{
		Version: 1, Job: "sweep-1", Model: whole, Before: styled("all", 40, 25.2, 0, 0, 1), Tolerance: .35,
		Corpora: []plugin.CorpusInfo{{Name: "default", Digest: "sha256:fedcba9876543210", Documents: 18}}, Protocol: "chunks of 512 tokens, the second half of each scored",
	}
	s.Model.Layers = layers
	for c, criterion := range []string{"auto", "angular", "influence", "deepest"} {
		for _, rate := range []float64{.1, .2, .3, .4, .5} {
			for seed := range seeds {
				n := int(rate*float64(layers) + .5)
				from := layers/2 - n/3 + c%3 + seed%2
				if criterion == "deepest" {
					from = layers - 1 - n
				}
				p := plugin.SweepPoint{Criterion: criterion, Seed: seed, Rate: rate, Bytes: int64(float64(whole.Bytes) * (1 - .94*rate)),
					Speed: plugin.Range{Median: 1 / (1 - .9*rate), Low: .97 / (1 - .9*rate), High: 1.02 / (1 - .9*rate)}}
				for l := range n {
					p.Remove = append(p.Remove, from+l)
				}
				rise := 9 * rate * rate * (1 + .35*float64(c)) * (1 + .1*float64(seed%2)) * (.9 + rate)
				for i, style := range []string{"all", "encyclopedia", "code"} {
					t := styled(style, 40, 25.2, rise*(1+.2*float64(i)), .95*rise*(1+.2*float64(i)), 1/(1+1.2*rise))
					p.Text = append(p.Text, t)
				}
				p.Verdict = plugin.Verdict{Say: plugin.SayTooMuch, Thresholds: sense}
				if .95*rise < 1 {
					p.Verdict.Say = plugin.SayRepair
				}
				s.Points = append(s.Points, p)
			}
		}
	}
	s.Best = &s.Points[0]
	of := styled("all", 4, 25.2, 0, 0, 1)
	s.LayersOf = &of
	for l := range layers {
		depth := float64(l) / float64(layers-1)
		rise := .04 + 8*math.Exp(-12*depth*float64(layers)/30) + .3*math.Exp(-30*(1-depth)) + .02*math.Sin(float64(5*l))
		lens := 3.23 + 7*math.Pow(1-depth, 1.6)
		s.Layers = append(s.Layers, plugin.LayerScore{Layer: l, Rise: estimate(rise, .01+.05*rise), KL: estimate(rise*.9, .01),
			Lens: estimate(lens, .1), Agreement: estimate(math.Pow(depth, 3)*.9, .01)})
	}
	return s
}

// profile is one whose distances grow with the size of the block.
func profile(layers int) plugin.Profile {
	m := plugin.Means{Tokens: 12288, OutTokens: 24, Influence: make([]float64, layers), Step: make([]float64, layers), Norm: make([]float64, layers+1)}
	for a := range layers + 1 {
		m.Distance = append(m.Distance, make([]float64, layers+1))
		for b := range layers + 1 {
			m.Distance[a][b] = .4 * (1 - math.Exp(-math.Abs(float64(a-b))/8)) * (1.2 - float64(min(a, b))/float64(layers))
		}
	}
	for l := range layers {
		m.Influence[l] = m.Distance[l][l+1] * .3
	}
	return plugin.Profile{Version: 1, Model: whole.Digest, Architecture: "llama", Layers: layers, Hidden: 576, Chunks: 24, Tokens: 12288, All: m,
		Corpora: []plugin.CorpusInfo{{Name: "default", Digest: "sha256:fedcba9876543210", Documents: 18}}}
}

// hostile is a job whose every name is an attack on a terminal, on Markdown and
// on HTML.
func hostile() plugin.Report {
	const attack = "<script>alert(1)</script>\x1b[31m`|*_[x](http://evil.example)\u202e"
	r := job()
	n := 0
	name := func() string { n++; return fmt.Sprintf("%s%d", attack, n) }
	r.Job, r.PluginName, r.Parent.Name, r.Result.Name, r.Plan.Profile = name(), name(), name(), name(), name()
	r.Plan.Notes, r.Evaluation.Notes = []string{name()}, []string{name()}
	e := r.Evaluation
	e.Before.Name, e.After.Name, e.Text[1].Style, e.Tasks[1].Name, e.Protocol = name(), name(), name(), name(), name()
	e.Corpora[0].Name, e.Corpora[0].Digest, e.Verdict.Reason, e.Before.Digest = name(), name(), name(), name()
	healed := repaired().Repair
	healed.Settings.Method, healed.Settings.Loss, healed.Settings.Quantize = name(), name(), name()
	healed.Data[0].Name, healed.Stages[1].Stage, healed.Training.Stopped = name(), name(), name()
	healed.Merge.Promoted, healed.Notes = []string{name()}, []string{name()}
	r.Repair = healed
	e.Generation.Samples[0] = plugin.Sample{Prompt: name(), Before: name() + "\n```\n# heading", After: name()}
	return r
}
