package evaluate

import (
	"cmp"
	"math"

	"pare/plugin"
)

// Defaults are the thresholds that a field left 0 takes.
//
// KL: quantising Llama 3 8B costs 0.03 nats a token in four bits (Q4_K_M), 0.10
// in three (Q3_K_M), 0.45 in two (Q2_K) and 1.4 in less (IQ1_M), by the
// documentation of llama.cpp's perplexity tool. People run the first two
// unseen, and hardly anybody the last.
//
// Loss: two right answers in a hundred are what nobody notices. What is still
// worth a repair is set high, because answers are lost long before a model is
// beyond repair: SmolLM2-135M without six of its thirty layers is at a KL of
// 0.9 and has lost 0.87 of its HellaSwag answers above chance (44.5% to 27.5%,
// chance 25%), and a short distillation halves that KL.
var Defaults = plugin.Thresholds{KeepKL: 0.10, KeepLoss: 0.02, RepairKL: 1.0, RepairLoss: 0.9}

// WithDefaults fills in the fields that are 0.
func WithDefaults(t plugin.Thresholds) plugin.Thresholds {
	return plugin.Thresholds{
		KeepKL:     cmp.Or(t.KeepKL, Defaults.KeepKL),
		KeepLoss:   cmp.Or(t.KeepLoss, Defaults.KeepLoss),
		RepairKL:   cmp.Or(t.RepairKL, Defaults.RepairKL),
		RepairLoss: cmp.Or(t.RepairLoss, Defaults.RepairLoss),
	}
}

// ValidateThresholds names the field at fault, and the flag for it. All are
// finite and not negative, losses are at most 1, and what is kept is not worse
// than what is repaired, where a field left 0 has its default.
func ValidateThresholds(t plugin.Thresholds) error {
	for _, f := range []struct {
		name       string
		value, top float64
	}{
		{"keep_kl (--keep-kl)", t.KeepKL, math.MaxFloat64},
		{"keep_loss (--keep-loss)", t.KeepLoss, 1},
		{"repair_kl (--worth-kl)", t.RepairKL, math.MaxFloat64},
		{"repair_loss (--worth-loss)", t.RepairLoss, 1},
	} {
		switch {
		case math.IsNaN(f.value) || f.value < 0 || math.IsInf(f.value, 0):
			return plugin.Errorf(plugin.Invalid, "threshold %s is %g: give a number above 0, or 0 for the default", f.name, f.value)
		case f.value > f.top:
			return plugin.Errorf(plugin.Invalid, "threshold %s is %g: it is a share of the right answers, give at most %g", f.name, f.value, f.top)
		}
	}
	t = WithDefaults(t)
	switch {
	case t.KeepKL > t.RepairKL:
		return plugin.Errorf(plugin.Invalid, "threshold keep_kl (--keep-kl) %g is above repair_kl (--worth-kl) %g: lower the one or raise the other", t.KeepKL, t.RepairKL)
	case t.KeepLoss > t.RepairLoss:
		return plugin.Errorf(plugin.Invalid, "threshold keep_loss (--keep-loss) %g is above repair_loss (--worth-loss) %g: lower the one or raise the other", t.KeepLoss, t.RepairLoss)
	}
	return nil
}
