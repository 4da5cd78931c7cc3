package engine

import (
	"slices"

	"github.com/ollama/ollama/discover"
	"github.com/ollama/ollama/llama"
)

const (
	// reserve is left free on GPUs, beside a tenth of what they have free: llama.cpp
	// keeps the intermediate results of a batch there, too.
	reserve = 512 << 20
	// usualContext is what room is made for at least, so that a model need not be
	// loaded anew when a somewhat longer text comes.
	usualContext = 2048
)

// gpus are the devices to use, each once though two libraries may drive it.
func gpus() (devices []uint64) {
	var seen []string
	for _, g := range llama.EnumerateGPUs() {
		if g.ID != "" && slices.Contains(seen, g.ID) {
			continue
		}
		seen = append(seen, g.ID)
		devices = append(devices, g.LlamaID)
	}
	return devices
}

func gpuMemory(devices []uint64) (free int64) {
	for _, d := range devices {
		free += freeMemory(d)
	}
	return free
}

// offload is how many layers of a model go to GPUs with so much memory free. The
// output counts for one of them.
func (f file) offload(free int64, context int) int {
	free -= max(reserve, free/10)
	each := f.bytes/int64(f.layers+1) + f.kvPerToken*int64(max(context, usualContext))/int64(f.layers)
	return int(min(max(0, free/max(1, each)), int64(f.layers+1)))
}

// short reports whether a machine without GPUs has less memory free than the
// model is large.
func (f file) short() bool {
	free := discover.GetSystemInfo().FreeMemory
	return free > 0 && int64(free) < f.bytes
}

// threads is how many Ollama would use.
func threads(asked int) int {
	if asked > 0 {
		return asked
	}
	return max(1, discover.GetSystemInfo().ThreadCount)
}
