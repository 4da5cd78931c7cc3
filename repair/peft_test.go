package repair

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// peftRun is integration/testdata/gradients.json; the script beside it says how torch
// and peft made it, and by which formulas.
type peftRun struct {
	Layers     int `json:"layers"`
	Vocabulary int `json:"vocabulary"`
	Sequences  int `json:"sequences"`
	Length     int `json:"length"`
	Top        int `json:"top"`
	Rank       int `json:"rank"`
	Alpha      int `json:"alpha"`
	Optimiser  struct {
		Rate float64 `json:"lr"`
	} `json:"optimiser"`
	Next    peftLoss `json:"next"`
	Distill peftLoss `json:"distill"`
}

type peftLoss struct {
	Gradients []struct {
		Tensor   string    `json:"tensor"`
		Part     string    `json:"part"`
		Norm     float64   `json:"norm"`
		Entries  []float64 `json:"entries"`
		Weighted float64   `json:"weighted"`
	} `json:"gradients"`
	Losses []float64 `json:"losses"`
	Norms  []float64 `json:"norms"`
}

// examples are the sequences of the run.
func (g peftRun) examples() (all examples) {
	v := g.Vocabulary
	for s := range g.Sequences {
		e := Example{}
		for t := range g.Length {
			token := func(t int) int32 { return int32((7*t + 31*s + 3*t*t*(s+1)) % v) }
			e.Tokens = append(e.Tokens, token(t))
			e.Segment = append(e.Segment, 1)
			e.Position = append(e.Position, int32(t))
			e.Target = append(e.Target, token(t+1))
			weight := float32(1)
			if t == g.Length-1 || t%5 == 3 {
				weight = 0
			}
			e.Weight = append(e.Weight, weight)
			n := t + g.Length*s
			for k := range g.Top {
				e.TopTokens = append(e.TopTokens, int32((13*n+29*k+5)%v))
				e.TopLogProb = append(e.TopLogProb, float32(-0.7*float64(k+1)-0.3*(1+math.Sin(float64(n)))))
			}
		}
		all = append(all, e)
	}
	return all
}

// TestTrainingEqualsPeft holds the loss, the gradient of every adapter and ten steps
// of AdamW against those of torch and peft on the same model and numbers.
func TestTrainingEqualsPeft(t *testing.T) {
	data, err := os.ReadFile("../integration/testdata/gradients.json")
	if err != nil {
		t.Fatal(err)
	}
	var g peftRun
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	for loss, want := range map[string]peftLoss{LossNext: g.Next, LossDistill: g.Distill} {
		t.Run(loss, func(t *testing.T) { g.hold(t, loss, want) })
	}
}

func (g peftRun) hold(t *testing.T, loss string, want peftLoss) {
	n, f := llama(t, g.Layers, 1)
	cfg := Config{Loss: loss, Rank: g.Rank, Alpha: float64(g.Alpha), Batch: g.Sequences, Clip: 1}
	tr, err := newTraining(backend(t), n, f, cfg, g.examples(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	if len(tr.parameters) != len(want.Gradients) {
		t.Fatalf("%d parameters, not %d", len(tr.parameters), len(want.Gradients))
	}
	for i, p := range tr.parameters {
		values := filled(p, i/2)
		copy(tr.values[valuesOf*i+valueAt], values)
		setParameter(t, p, values)
	}
	gradients, err := tr.gradient(context.Background(), &Step{Step: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want.Gradients {
		p := tr.parameters[i]
		if p.tensor != w.Tensor || p.part != w.Part {
			t.Fatalf("parameter %d is %s of %s, not %s of %s", i, p.part, p.tensor, w.Part, w.Tensor)
		}
		got := gradients[i]
		if p.part == "B" {
			got = transposed(got, p.cols)
		}
		count := len(got)
		weighted, off := 0., 0.
		for j, v := range got {
			weighted += float64(v) * math.Cos(float64(j))
		}
		for e, at := range []int{0, count / 3, 2 * count / 3, count - 1} {
			off = max(off, math.Abs(float64(got[at])-w.Entries[e]))
		}
		off = max(off, math.Abs(norm([][]float32{got})-w.Norm), math.Abs(weighted-w.Weighted))
		if off > 1e-3*w.Norm {
			t.Errorf("the gradient of %s of %s is off by %.2g of its norm", w.Part, w.Tensor, off/w.Norm)
		}
	}
	for i, w := range want.Losses {
		step := Step{Step: i + 1, Rate: g.Optimiser.Rate}
		if err := tr.step(context.Background(), &step); err != nil {
			t.Fatal(err)
		}
		tr.Step++
		if math.Abs(step.Loss-w) > 1e-4*w {
			t.Errorf("before step %d the loss is %.6f, not %.6f", i+1, step.Loss, w)
		}
		if i < len(want.Norms) && math.Abs(step.Norm-want.Norms[i]) > 1e-3*want.Norms[i] {
			t.Errorf("at step %d the gradient's norm is %.6f, not %.6f", i+1, step.Norm, want.Norms[i])
		}
	}
}

// filled is what an adapter begins with: m is the number of its matrix.
func filled(p parameter, m int) []float32 {
	out := make([]float32, p.rows*p.cols)
	for i := range out {
		at := float64(1 + m + i)
		if p.part == "A" {
			out[i] = float32(math.Sin(at) / math.Sqrt(float64(p.cols)))
		} else {
			out[i] = float32(math.Cos(at) / 100)
		}
	}
	if p.part == "B" { // which peft counts through row by row of [out, R]
		out = transposed(out, p.rows)
	}
	return out
}
