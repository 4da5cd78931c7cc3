package repair

import "math"

// lastRate is the share of the learning rate that is left at the end.
const lastRate = 0.1

// rate is the learning rate of a step, the first being 0. It rises evenly for WarmUp
// steps and then falls along half a cosine to a tenth:
//
//	η·(s+1)/(w+1)                               for s < w
//	η·(0.1 + 0.9·(1 + cos(π·(s-w)/(S-w)))/2)    after
func (c Config) rate(step int) float64 {
	if step < c.WarmUp {
		return c.LearningRate * float64(step+1) / float64(c.WarmUp+1)
	}
	done := float64(step-c.WarmUp) / float64(c.Steps-c.WarmUp)
	return c.LearningRate * (lastRate + (1-lastRate)*(1+math.Cos(math.Pi*done))/2)
}
