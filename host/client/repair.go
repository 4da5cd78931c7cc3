package client

import (
	"bytes"
	"encoding/json"
	"errors"

	"pare/plugin"
)

// Repair says how a cut model is healed. In JSON it is an object, or a string that
// is the method alone. A field that is left out takes its default; a 0 where it
// makes no sense is refused rather than replaced. What each of them means stands
// at [plugin.Repair].
type Repair struct {
	Method string  `json:"method,omitempty"` // plugin.RepairNone, …; "" for the plugin's default
	Data   *Corpus `json:"data,omitempty"`   // text, JSONL or chats to learn from; none, or {"name": "self"}, for answers of the uncut model

	Loss    string   `json:"loss,omitempty"`
	Preset  string   `json:"preset,omitempty"`
	Targets string   `json:"targets,omitempty"`
	Layers  string   `json:"layers,omitempty"`
	Rank    *int     `json:"rank,omitempty"`
	Alpha   *float64 `json:"alpha,omitempty"`
	Dropout float64  `json:"dropout,omitempty"`
	Bits    int      `json:"bits,omitempty"`

	Steps        *int     `json:"steps,omitempty"`
	Batch        *int     `json:"batch,omitempty"`
	Length       *int     `json:"length,omitempty"`
	Accumulate   *int     `json:"accumulate,omitempty"`
	LearningRate *float64 `json:"learning_rate,omitempty"`
	WarmUp       int      `json:"warm_up,omitempty"`
	Clip         *float64 `json:"clip,omitempty"`
	Seed         int64    `json:"seed,omitempty"`

	Adapter  bool   `json:"adapter,omitempty"`
	Quantize string `json:"quantize,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler. It is as strict as the server is with
// the rest of a request: a misspelt field is an error.
func (r *Repair) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*r = Repair{}
		return json.Unmarshal(b, &r.Method)
	}
	if len(b) == 0 || b[0] != '{' {
		return errors.New("repair: give the name of a method, or an object")
	}
	type object Repair // without this method
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode((*object)(r))
}

// Settings turns the request's words into the contract's, all but Data, or says
// which field is wrong and what to give. A nil Repair is the zero one. What only
// the model can tell, such as the highest rank, is for the plugin to check.
func (r *Repair) Settings() (plugin.Repair, error) {
	if r == nil {
		return plugin.Repair{}, nil
	}
	for _, check := range []func() error{r.checkWords, r.checkNumbers, r.checkRates, r.checkPlace} {
		if err := check(); err != nil {
			return plugin.Repair{}, plugin.Errorf(plugin.Invalid, "repair: %w", err)
		}
	}
	return plugin.Repair{
		Method: r.Method, Loss: r.Loss, Preset: r.Preset,
		Targets: r.Targets, Layers: r.Layers, Rank: given(r.Rank), Alpha: given(r.Alpha), Dropout: r.Dropout, Bits: r.Bits,
		Steps: given(r.Steps), Batch: given(r.Batch), Length: given(r.Length), Accumulate: given(r.Accumulate),
		LearningRate: given(r.LearningRate), WarmUp: r.WarmUp, Clip: given(r.Clip), Seed: r.Seed,
		Adapter: r.Adapter, Quantize: r.Quantize,
	}, nil
}

// given is what a field holds, or 0.
func given[T any](field *T) (v T) {
	if field != nil {
		v = *field
	}
	return v
}
