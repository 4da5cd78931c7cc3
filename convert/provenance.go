package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"pare/gguf"
)

// Provenance says where a cut model comes from. The file holds it under keys that
// both engines ignore, pare.adapter also where nothing was cut (the file of a later cut
// does not repeat it then: its parent has it):
//
//	pare.parent.digest   string            the file that was cut
//	pare.removed_layers  array of uint32   numbered as in that file
//	pare.criterion       string            if there was one
//	pare.traced_tokens   uint64
//	pare.version         string            if it is known
//	pare.quantize        string            if it was stored in other types: which, in Ollama's names
//	pare.repair          string            if the cut was repaired
//	pare.adapter         string            if LoRA adapters were merged since
//	pare.history         array of strings  earlier cuts, the oldest first
//
// The keys describe the last cut, so that the numbers in them are always those of
// the parent that they name. If that was cut before, its own provenance goes to
// the end of pare.history, each entry a JSON object with the fields below.
type Provenance struct {
	Parent       string `json:"parent"`              // "sha256:" and 64 hex digits
	Removed      []int  `json:"removed"`             // in the numbering of Parent; Cut fills it in
	Criterion    string `json:"criterion,omitempty"` // how the layers were chosen
	TracedTokens int64  `json:"traced_tokens"`       // that the choice was made from
	Version      string `json:"version,omitempty"`   // of Pare
	Quantize     string `json:"quantize,omitempty"`  // the types of the cut model, "Q4_K_M"; Quantize writes it
	Repair       string `json:"repair,omitempty"`    // what healed the cut model; Merge writes it
	Adapter      string `json:"adapter,omitempty"`   // digests of adapters merged into it after that, "; " between them; likewise
}

// provenancePrefix begins the keys that Pare adds to a model.
const provenancePrefix = "pare."

// validate names the field at fault.
func (p Provenance) validate() error {
	hex, ok := strings.CutPrefix(p.Parent, "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return fmt.Errorf(`parent digest %q: want "sha256:" and 64 hexadecimal digits, the digest of the file that is cut`, p.Parent)
	}
	if p.TracedTokens < 0 {
		return fmt.Errorf("traced tokens: %d is negative", p.TracedTokens)
	}
	return nil
}

// History returns the cuts that led to f, the oldest first and its own last.
// It is empty for a model that Pare has not cut.
func History(f *gguf.File) ([]Provenance, error) {
	last, ok, err := lastCut(f)
	if err != nil || !ok {
		return nil, err
	}
	var cuts []Provenance
	v, _ := f.KV("pare.history")
	for i := range max(v.Len(), 0) {
		line, _ := v.At(i).Str()
		var p Provenance
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			return nil, fmt.Errorf("read pare.history, entry %d: %w", i, err)
		}
		cuts = append(cuts, p)
	}
	return append(cuts, last), nil
}

// lastCut reads the keys that describe the last cut.
func lastCut(f *gguf.File) (p Provenance, ok bool, err error) {
	if p.Parent, ok = text(f, "pare.parent.digest"); !ok {
		return p, false, nil
	}
	v, _ := f.KV("pare.removed_layers")
	for i := range max(v.Len(), 0) {
		n, ok := v.At(i).Uint()
		if !ok || n >= maxBlocks {
			return p, false, errors.New("read pare.removed_layers: not an array of layers")
		}
		p.Removed = append(p.Removed, int(n))
	}
	p.Criterion, _ = text(f, "pare.criterion")
	p.Version, _ = text(f, "pare.version")
	p.Quantize, _ = text(f, "pare.quantize")
	p.Repair, _ = text(f, "pare.repair")
	p.Adapter, _ = text(f, "pare.adapter")
	tokens, _ := f.KV("pare.traced_tokens")
	p.TracedTokens, _ = tokens.Int()
	return p, true, nil
}

// provenanceKVs are the keys for p, on top of the history of the model that is cut.
func provenanceKVs(p Provenance, earlier []Provenance) ([]gguf.KV, error) {
	removed := make([]gguf.Value, len(p.Removed))
	for i, layer := range p.Removed {
		removed[i] = gguf.Uint32(uint32(layer))
	}
	layers, err := gguf.Array(gguf.TypeUint32, removed...)
	if err != nil {
		return nil, fmt.Errorf("write pare.removed_layers: %w", err)
	}
	kvs := []gguf.KV{
		{Key: "pare.parent.digest", Value: gguf.String(p.Parent)},
		{Key: "pare.removed_layers", Value: layers},
		{Key: "pare.traced_tokens", Value: gguf.Uint64(uint64(p.TracedTokens))},
	}
	if p.Criterion != "" {
		kvs = append(kvs, gguf.KV{Key: "pare.criterion", Value: gguf.String(p.Criterion)})
	}
	if p.Version != "" {
		kvs = append(kvs, gguf.KV{Key: "pare.version", Value: gguf.String(p.Version)})
	}
	if len(earlier) == 0 {
		return kvs, nil
	}
	history, err := historyValue(earlier)
	if err != nil {
		return nil, fmt.Errorf("write pare.history: %w", err)
	}
	return append(kvs, gguf.KV{Key: "pare.history", Value: history}), nil
}

// historyValue is an array of one JSON object for each cut.
func historyValue(cuts []Provenance) (gguf.Value, error) {
	lines := make([]gguf.Value, len(cuts))
	for i, p := range cuts {
		line, err := json.Marshal(p)
		if err != nil {
			return gguf.Value{}, err
		}
		lines[i] = gguf.String(string(line))
	}
	return gguf.Array(gguf.TypeString, lines...)
}
