package engine

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"

	"github.com/ollama/ollama/envconfig"
	"github.com/ollama/ollama/llama"
	"github.com/ollama/ollama/ml"

	"pare/plugin"
)

const (
	batchTokens = 512
	batchBytes  = 256 << 20 // of logits that a batch gives at most
	contextStep = 256
)

// A model is a loaded GGUF with a context, which holds what was computed last.
type model struct {
	file
	handle    *llama.Model
	devices   []uint64
	offloaded int
	short     bool

	context   *llama.Context
	sequences int // that the context has room for
	size      int // of each of them, in tokens
	threads   int
	batch     *llama.Batch
	held      []int32 // tokens whose keys and values the context holds, in the first sequence
	bypass    []int   // how they were computed
}

// load loads the model with a context of so many sequences of size tokens, on as many
// layers of GPUs as there is memory for.
func load(f file, size, sequences, threads int) (*model, error) {
	m := &model{file: f, devices: gpus()}
	if len(m.devices) > 0 {
		m.offloaded = f.offload(gpuMemory(m.devices), size*sequences)
		m.short = m.offloaded <= f.layers
	} else {
		m.short = f.short()
	}
	for {
		err := m.try(size, sequences, threads)
		if err == nil {
			return m, nil
		}
		m.free()
		if m.offloaded == 0 || plugin.KindOf(err) != plugin.Unavailable {
			return nil, err
		}
		slog.Warn("a model does not fit into the memory of GPUs; trying fewer layers", "model", f.path, "layers", m.offloaded)
		m.offloaded, m.short = m.offloaded*3/4, true
	}
}

// try loads the model with the layers that it has set its mind on.
func (m *model) try(size, sequences, threads int) error {
	var err error
	m.handle, err = llama.LoadModelFromFile(m.path, llama.ModelParams{Devices: m.devices, NumGpuLayers: m.offloaded, UseMmap: true})
	if err != nil {
		m.handle = nil
		return m.unloadable(loadReason())
	}
	return m.makeContext(size, sequences, threads)
}

// unloadable is the error that a file cannot be loaded for a reason in llama.cpp's
// words. They are all that tells a file that is damaged, and memory that does not
// suffice, from an architecture, or a way to write it, that llama.cpp does not know.
func (f file) unloadable(reason string) error {
	reason = cmp.Or(reason, "it does not say why")
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(reason, w) })
	}
	switch {
	case has("alloc", "out of memory", "mmap failed"):
		return plugin.Errorf(plugin.Unavailable, "load model %s: memory does not suffice (%s); free some", f.name(), reason)
	case has("corrupted", "invalid data", "duplicated", "failed to load model from", "read error", "unexpectedly reached end"):
		return plugin.Errorf(plugin.Refused, "load model %s: the file is damaged (%s); get it anew", f.name(), reason)
	}
	return plugin.Errorf(plugin.Unsupported, "load model %s: its architecture %q, or a file like this one, is only known to Ollama's own engine; Pare cannot score it yet (%s)", f.name(), f.architecture, reason)
}

// fit sees to a context of so many sequences of size tokens, and threads. One for longer
// sequences is kept, and with size 0 any: what runs next asks for its own.
func (m *model) fit(size, sequences, threads int) error {
	if size == 0 && m.context != nil && threads == m.threads {
		return nil
	}
	if m.context != nil && sequences == m.sequences {
		if size <= m.size && threads == m.threads {
			return nil
		}
		size = max(size, m.size)
	}
	return m.makeContext(size, sequences, threads)
}

func (m *model) makeContext(size, sequences, threads int) (err error) {
	m.freeContext()
	size = max(1, (size+contextStep-1)/contextStep) * contextStep
	n := min(m.batchSize(), size)
	m.context, err = llama.NewContextWithModel(m.handle, llama.NewContextParams(size*sequences, n, sequences, threads, m.flashAttention(), ""))
	if err != nil {
		m.context = nil
		return plugin.Errorf(plugin.Unavailable, "make a context of %d tokens for %s: memory does not suffice; free some, or use shorter texts", size*sequences, m.name())
	}
	if m.batch, err = llama.NewBatch(n, 1, 0); err != nil {
		m.batch = nil
		return plugin.Errorf(plugin.Unavailable, "make a batch of %d tokens for %s: %w", n, m.name(), err)
	}
	m.size, m.sequences, m.threads = size, sequences, threads
	return nil
}

// batchSize is 512 tokens, or a smaller power of two where the vocabulary is large.
func (m *model) batchSize() int {
	n := batchTokens
	for n > 32 && n*m.handle.NumVocab()*4 > batchBytes {
		n /= 2
	}
	return n
}

// flashAttention is what Ollama's server tells its runners, where the user says
// or there are GPUs. On a CPU plain attention is faster for texts of a few hundred
// tokens, by a seventh for SmolLM2, and nearer to the exact result.
func (m *model) flashAttention() ml.FlashAttentionType {
	byUser := envconfig.FlashAttention(true) == envconfig.FlashAttention(false)
	switch {
	case !byUser && len(m.devices) == 0:
		return ml.FlashAttentionDisabled
	case !byUser:
		return ml.FlashAttentionAuto
	case envconfig.FlashAttention(true):
		return ml.FlashAttentionEnabled
	}
	return ml.FlashAttentionDisabled
}

// forget empties the context, and says how it will be filled.
func (m *model) forget(bypass []int) {
	m.context.KvCacheClear()
	m.held, m.bypass = m.held[:0], slices.Clone(bypass)
}

func (m *model) freeContext() {
	if m.batch != nil {
		m.batch.Free()
	}
	if m.context != nil {
		freeContext(m.context)
	}
	m.batch, m.context, m.size, m.held = nil, nil, 0, nil
}

func (m *model) free() {
	m.freeContext()
	if m.handle != nil {
		llama.FreeModel(m.handle)
		m.handle = nil
	}
}
