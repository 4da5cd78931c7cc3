package engine

import (
	"fmt"
	"slices"
	"sync"

	"github.com/ollama/ollama/llama"

	"pare/host/tap"
)

// begin gets ggml ready, once: the tap must be in place before a model is loaded.
var begin = sync.OnceValue(func() error {
	llama.BackendInit()
	if err := tap.Hook(); err != nil {
		return fmt.Errorf("prepare to leave out layers: %w", err)
	}
	return nil
})

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
