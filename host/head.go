package host

import (
	"fmt"

	"github.com/ollama/ollama/envconfig"
	"github.com/ollama/ollama/fs/ggml"
	"github.com/ollama/ollama/fs/gguf"

	"pare/plugin"
)

// A head is what a GGUF says of itself.
type head struct {
	architecture string
	context      int // tokens of the longest text it was trained with; 0 if it does not say
}

func (s stored) head() (head, error) {
	g, err := gguf.Open(s.path)
	if err != nil {
		return head{}, fmt.Errorf("read the GGUF of %s: %w", s.name.DisplayShortest(), err)
	}
	defer g.Close()
	return head{g.KeyValue("general.architecture").String(), int(g.KeyValue("context_length").Uint())}, nil
}

// ownEngine reports whether Ollama runs the model in its own engine.
func (h head) ownEngine() bool {
	return envconfig.NewEngine() || ggml.KV{"general.architecture": h.architecture}.OllamaEngineRequired()
}

// loadsAdapters refuses a model that an adapter would be of no use to: Ollama's own engine
// loads none.
func (s stored) loadsAdapters() error {
	h, err := s.head()
	if err != nil {
		return err
	}
	if h.ownEngine() {
		return &plugin.Error{
			Kind: plugin.Refused, Err: fmt.Errorf("%s models run in Ollama's own engine, which loads no adapters yet", h.architecture),
			Hint: "leave adapter out (--adapter), and what is learnt is merged into the model",
		}
	}
	return nil
}
