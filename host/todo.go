package host

import (
	"context"
	"errors"

	"pare/plugin"
)

var errTODO = errors.New("not built yet")

func (l *lent) Tokenize(context.Context, string, []string) ([][]int32, error) { return nil, errTODO }
func (l *lent) Score(context.Context, plugin.ScoreRequest, func(plugin.Score) error) error {
	return errTODO
}
func (l *lent) Generate(context.Context, plugin.GenerateRequest, func(plugin.Answer) error) error {
	return errTODO
}
func (l *lent) Footprint(context.Context, string, plugin.Variant) (plugin.Footprint, error) {
	return plugin.Footprint{}, errTODO
}
