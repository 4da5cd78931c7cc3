package pipeline

import (
	"context"
	"errors"

	"pare/plugin"
)

func (p Pipeline) Evaluate(context.Context, plugin.EvaluateRequest, plugin.Host, func(plugin.Event)) (plugin.Evaluation, error) {
	return plugin.Evaluation{}, errors.New("not built yet")
}
func (p Pipeline) Sweep(context.Context, plugin.SweepRequest, plugin.Host, func(plugin.Event)) (plugin.Sweep, error) {
	return plugin.Sweep{}, errors.New("not built yet")
}
