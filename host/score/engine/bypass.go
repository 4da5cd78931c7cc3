package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ollama/ollama/llama"

	"pare/host/tap"
	"pare/plugin"
)

// begin gets ggml ready, once: the tap must be in place before a model is loaded.
var begin = sync.OnceValue(func() error {
	llama.BackendInit()
	keepReason()
	if err := tap.Hook(); err != nil {
		return fmt.Errorf("prepare to leave out layers: %w", err)
	}
	return nil
})

// bypassed is how a forward pass without some layers ended, given how llama.cpp says
// that it did.
func bypassed(err error) error {
	switch why := tap.BypassError(err); {
	case errors.Is(why, tap.ErrMemory):
		return plugin.Errorf(plugin.Unavailable, "%w; free some", why)
	case why != err:
		return plugin.Errorf(plugin.Unsupported, "%w", why)
	}
	return err
}

// use has the next forward passes go through m without some layers. What its
// context holds of others is dropped.
func (e *engine) use(m *model, bypass []int) error {
	if err := tap.Bypass(bypass); err != nil {
		return err
	}
	if !slices.Equal(bypass, m.bypass) {
		m.forget(bypass)
	}
	return nil
}
