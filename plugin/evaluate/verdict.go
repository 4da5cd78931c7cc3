package evaluate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"pare/plugin"
	"pare/plugin/phrase"
)

// Judge says what to do with the second model of an evaluation. It rests on KL
// and on multiple-choice questions, whichever says the worse; perplexity does
// not count, since training brings it down on text of its own style without
// bringing the model back.
//
// The mean KL decides by its value, which is known well. Questions are few, so
// they decide only where more is lost than a threshold allows beyond doubt.
// Where nothing was compared the verdict says nothing, Say is "".
func Judge(e *plugin.Evaluation, t plugin.Thresholds) plugin.Verdict {
	var text plugin.TextScore
	var tasks plugin.TaskScore
	if len(e.Text) > 0 {
		text = e.Text[0]
	}
	if len(e.Tasks) > 0 {
		tasks = e.Tasks[0]
	}
	return judge(text, tasks, sufferers(e), t)
}

// JudgeText is Judge where only text was scored.
func JudgeText(text plugin.TextScore, t plugin.Thresholds) plugin.Verdict {
	return judge(text, plugin.TaskScore{}, nil, t)
}

func judge(text plugin.TextScore, tasks plugin.TaskScore, worst []sufferer, t plugin.Thresholds) plugin.Verdict {
	t = WithDefaults(t)
	v := plugin.Verdict{Thresholds: t}
	if text.KL == nil && tasks.Change == nil {
		v.Reason = "there is no second model, or its text and answers were not compared"
		return v
	}
	v.Say = worse(byText(text, t), byTasks(tasks, t))
	var reasons []string
	if text.KL != nil {
		reasons = append(reasons, textReason(text, t))
	}
	if text.Agreement != nil {
		reasons = append(reasons, fmt.Sprintf("the same next token %s of the time", percent(text.Agreement.Value)))
	}
	if tasks.Change != nil {
		reasons = append(reasons, taskReason(tasks))
	}
	v.Reason = strings.Join(reasons, ", ") + "; " + suffering(worst, v.Say)
	return v
}

// worse is the more severe of two verdicts.
func worse(a, b string) string {
	order := []string{plugin.SayKeep, plugin.SayRepair, plugin.SayTooMuch}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

func byText(s plugin.TextScore, t plugin.Thresholds) string {
	switch {
	case s.KL == nil || s.KL.Value <= t.KeepKL:
		return plugin.SayKeep
	case s.KL.Value <= t.RepairKL:
		return plugin.SayRepair
	}
	return plugin.SayTooMuch
}

func byTasks(s plugin.TaskScore, t plugin.Thresholds) string {
	switch {
	case s.Change == nil || !lostMore(s, t.KeepLoss, 0):
		return plugin.SayKeep
	case !aboveChance(s) || !lostMore(s, t.RepairLoss, s.Chance):
		return plugin.SayRepair
	}
	return plugin.SayTooMuch
}

// lostMore reports whether more than a given share of the right answers above a
// base is lost, with 97.5% confidence. With b and a the shares of right answers
// before and after, that is b - a > share (b - base), or that
//
//	(1-share) b - a + share base
//
// is above 0: the mean over questions of a figure that takes one value for each of
// the four outcomes. Half a question is added to each of them, as in Agresti and
// Min's interval: of few questions that all end alike the error is not 0 then. Nor
// does a loss count that is within the noise.
func lostMore(s plugin.TaskScore, share, base float64) bool {
	if s.Change.High >= 0 {
		return false
	}
	n, mean, square := 0.0, 0.0, 0.0
	for _, o := range outcomes(s) {
		figure := share * base
		if o.was {
			figure += 1 - share
		}
		if o.is {
			figure--
		}
		count := o.count + 0.5
		n += count
		mean += count * figure
		square += count * figure * figure
	}
	mean /= n
	return mean > z*math.Sqrt(max(0, square/n-mean*mean)/n)
}

// An outcome is how many questions were answered right before, and after.
type outcome struct {
	was, is bool
	count   float64
}

// outcomes counts the questions of each outcome. The error of the change tells how
// many answers changed; see difference.
func outcomes(s plugin.TaskScore) [4]outcome {
	n := float64(s.Questions)
	d := n * s.Change.Value // won - lost
	changed := math.Round(s.Change.Error*s.Change.Error*n*n + d*d/n)
	won, lost := (changed+d)/2, (changed-d)/2
	both := n*s.Before.Value - lost
	return [4]outcome{{true, true, both}, {true, false, lost}, {false, true, won}, {false, false, n - both - changed}}
}

// aboveChance reports whether the first model knows more than guessing gets.
func aboveChance(s plugin.TaskScore) bool { return s.Before.Low > s.Chance }

func textReason(s plugin.TextScore, t plugin.Thresholds) string {
	limit := fmt.Sprintf("keep: up to %.3g", t.KeepKL)
	if s.KL.Value > t.RepairKL {
		limit = fmt.Sprintf("worth a repair: up to %.3g", t.RepairKL)
	}
	return fmt.Sprintf("KL %.3g nats a token from the original model (%s)", s.KL.Value, limit)
}

func taskReason(s plugin.TaskScore) string {
	reason := fmt.Sprintf("right answers %s before, %s after", percent(s.Before.Value), percent(s.After.Value))
	switch left := (s.After.Value - s.Chance) / (s.Before.Value - s.Chance); {
	case !aboveChance(s):
		return reason + fmt.Sprintf(" (guessing gets %s)", percent(s.Chance))
	case s.Change.Low <= 0 && s.Change.High >= 0:
		return reason + fmt.Sprintf(" (within the noise of %s)", phrase.Many(int64(s.Questions), "question"))
	case left <= 0:
		return reason + " (none of those above chance left)"
	default:
		return reason + fmt.Sprintf(" (%s of those above chance left)", percent(left))
	}
}

// A sufferer is a style of text or a kind of question that fared worse than the
// whole.
type sufferer struct {
	name, how string
	loss      float64
}

// sufferers are the two styles of text whose KL is furthest above that of all
// text, and the two kinds of question that lost most, beyond doubt; the worst
// of each first.
func sufferers(e *plugin.Evaluation) []sufferer {
	var styles, kinds []sufferer
	for i, s := range e.Text {
		if i > 0 && s.KL != nil && e.Text[0].KL != nil && s.KL.Value > e.Text[0].KL.Value {
			styles = append(styles, sufferer{s.Style, fmt.Sprintf("KL %.3g", s.KL.Value), s.KL.Value})
		}
	}
	for i, s := range e.Tasks {
		if i > 0 && s.Change != nil && s.Change.High < 0 {
			how := fmt.Sprintf("right answers %s to %s", percent(s.Before.Value), percent(s.After.Value))
			kinds = append(kinds, sufferer{s.Name, how, -s.Change.Value})
		}
	}
	return append(worstTwo(styles), worstTwo(kinds)...)
}

func worstTwo(s []sufferer) []sufferer {
	slices.SortStableFunc(s, func(a, b sufferer) int { return cmp.Compare(b.loss, a.loss) })
	return s[:min(2, len(s))]
}

// suffering names what was measured to be worst, and arithmetic and code where
// that does not show them: they fall first in what has been published on
// cutting layers.
func suffering(worst []sufferer, say string) string {
	rule := "arithmetic and code suffer first"
	if say == plugin.SayKeep {
		rule = "arithmetic and code would suffer first"
	}
	if len(worst) == 0 {
		return rule
	}
	var list []string
	named := map[string]bool{}
	for _, s := range worst {
		list = append(list, fmt.Sprintf("%s (%s)", s.name, s.how))
		named[s.name] = true
	}
	measured := "worst in " + strings.Join(list, ", ")
	if named["arithmetic"] && named["code"] {
		return measured
	}
	return measured + "; as a rule " + rule
}

// percent writes a share to a tenth of a percent: "12.8%", "50%".
func percent(share float64) string {
	return strconv.FormatFloat(math.Round(1000*share)/10, 'f', -1, 64) + "%"
}
