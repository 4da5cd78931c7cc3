package repair

import "pare/convert"

// A Result is what training made.
type Result struct {
	Changes []convert.Change
	Trained int64   // parameters
	Tokens  int64   // learnt from, without padding
	Best    int     // step whose parameters Changes are: that with the lowest held-out loss, or the last
	Before  float64 // held-out loss before training; 0 if nothing was held out
	After   float64 // and with Changes
	Stopped string  // why before the last step; "" if it was not
	Resumed int     // step that it went on from; 0 if it began anew
	Curve   []Step
}

// result is what there is at the end.
func (t *training) result() Result {
	r := Result{Tokens: t.Tokens, Best: t.Step, Stopped: t.Stopped, Curve: t.Curve}
	which := valueAt
	if t.held != nil {
		r.Best, r.After, which = t.Best, t.Lowest, bestAt
		if len(t.Curve) > 0 && t.Curve[0].Held != nil {
			r.Before = *t.Curve[0].Held
		}
	}
	var values [][]float32
	for i := range t.parameters {
		values = append(values, t.values[valuesOf*i+which])
		r.Trained += int64(len(values[i]))
	}
	r.Changes = t.changes(values)
	return r
}
