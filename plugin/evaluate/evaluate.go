// Package evaluate is the arithmetic of judging a model: it turns the
// log-probabilities, choices and answers of a model, and of what became of it,
// into estimates with intervals and into a verdict. It runs no model and reads
// no files.
//
// "Before" is the model that all else is held against, "after" what was made of
// it: a cut, a repair, or the same file run without some layers. Both are run
// on the same tokens and compared on each of them: differences between texts
// are far greater than those between models, and cancel only when paired.
//
// Numbers that come in are taken to be finite: a model that computes a NaN is
// to be refused where its scores arrive. All that goes out is finite too and
// can be written as JSON.
package evaluate

// Protocol says what the figures mean, for a person who wants to measure the same
// again. How the text was cut into chunks is for the caller to say.
const Protocol = "Each token is given all before it in its chunk. " +
	"Perplexity is exp of the mean negative log-probability over tokens. KL is the divergence of the next-token distribution " +
	"from that of the original model over the whole vocabulary, agreement the share of tokens where both find the same one most likely. " +
	"Standard errors are over chunks, differences are paired by chunk, intervals are at 95%. " +
	"A multiple-choice answer is the choice whose log-probability per byte is highest."
