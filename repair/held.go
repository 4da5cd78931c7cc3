package repair

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"

	"pare/gguf"
)

// HeldLoss is the mean loss of a model as it is on held, by the same graph that a
// training with cfg judges by.
func HeldLoss(ctx context.Context, b compute.Backend, n *Network, f *gguf.File, cfg Config, held Source) (float64, error) {
	cfg = cfg.withDefaults(n)
	t := &training{backend: b, held: held}
	example, err := held.Read(0)
	if err != nil {
		return 0, fmt.Errorf("measure the loss: %w", err)
	}
	if t.shape, err = shapeOf(example, cfg); err != nil {
		return 0, fmt.Errorf("measure the loss: %w", err)
	}
	if t.student, err = frozenStudent(n, f, cfg, t.shape.embeds); err != nil {
		return 0, fmt.Errorf("measure the loss: %w", err)
	}
	defer t.close()
	if t.judging, err = NewExec(b, t.judge); err != nil {
		return 0, fmt.Errorf("measure the loss: %w", err)
	}
	loss, err := t.heldLoss(ctx)
	if err != nil {
		return 0, fmt.Errorf("measure the loss: %w", err)
	}
	return loss, nil
}
