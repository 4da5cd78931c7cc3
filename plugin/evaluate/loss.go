package evaluate

import "pare/plugin"

// Loss is the mean negative log-probability that After gave a token, nats. All
// chunks must have one.
func Loss(chunks []Chunk) plugin.Estimate { return *estimate(chunks, chunks, lossAfter) }
