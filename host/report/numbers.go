package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ollama/ollama/format"

	"pare/plugin"
	"pare/plugin/phrase"
)

// none stands where a number is not known.
const none = "–"

// decimals is how many digits after the point give a value three that count.
func decimals(v float64) int {
	switch v = math.Abs(v); {
	case v >= 99.95:
		return 0
	case v >= 9.995:
		return 1
	case v >= .9995:
		return 2
	}
	return 3
}

// number writes v with about three digits that count, and thousands apart.
func number(v float64) string { return fixed(v, decimals(v)) }

func fixed(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return none
	}
	if math.Abs(v) >= 1e7 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if digits == 0 {
		return phrase.Thousands(s)
	}
	return s
}

// known tells whether there is an interval to show.
func known(low, high float64) bool {
	return high > low && !math.IsInf(low, 0) && !math.IsInf(high, 0)
}

// pm writes an estimate with half of its 95% interval: "25.2 ± 1.7".
func pm(e *plugin.Estimate) string {
	if e == nil {
		return none
	}
	return half(plugin.Range{Median: e.Value, Low: e.Low, High: e.High})
}

// half writes a value with half of the range around it, where that shows in as
// many digits as the value has.
func half(r plugin.Range) string {
	s := number(r.Median)
	if s == none || !known(r.Low, r.High) {
		return s
	}
	by := fixed((r.High-r.Low)/2, decimals(r.Median))
	if strings.Trim(by, "0.") == "" {
		return s
	}
	return s + " ± " + by
}

// share writes an estimated share in percent: "44.5% ± 3.5".
func share(e *plugin.Estimate) string {
	if e == nil {
		return none
	}
	s := percent(e.Value)
	if known(e.Low, e.High) {
		s += " ± " + fixed(50*(e.High-e.Low), 1)
	}
	return s
}

func percent(v float64) string {
	s := fixed(100*v, 1)
	if s == none {
		return s
	}
	return s + "%"
}

// about writes a share in whole percent.
func about(v float64) string {
	s := fixed(100*v, 0)
	if s == none {
		return s
	}
	return s + "%"
}

// asked writes a share that a person chose, with no more digits than it needs.
func asked(v float64) string { return strconv.FormatFloat(math.Round(1000*v)/10, 'f', -1, 64) + "%" }

// points writes a change of a share in points of percent, with its interval.
func points(e *plugin.Estimate) string {
	if e == nil {
		return ""
	}
	s := signed(100*e.Value, 1) + " points"
	if known(e.Low, e.High) {
		s += fmt.Sprintf(" (%s to %s)", signed(100*e.Low, 1), signed(100*e.High, 1))
	}
	return s
}

// signed writes a change, and none as 0 without a sign.
func signed(v float64, digits int) string {
	s := fixed(v, digits)
	if zero, err := strconv.ParseFloat(s, 64); err == nil && zero == 0 {
		return fixed(0, digits)
	}
	if v > 0 {
		return "+" + s
	}
	return s
}

// factor writes a ratio: "×2.61".
func factor(v float64) string { return "×" + number(v) }

// spread writes a ratio with what bounds it: "×2.61 (2.45 to 2.78)".
func spread(r plugin.Range) string {
	if !known(r.Low, r.High) {
		return factor(r.Median)
	}
	d := decimals(r.Median)
	return fmt.Sprintf("%s (%s to %s)", factor(r.Median), fixed(r.Low, d), fixed(r.High, d))
}

// ratio turns a rise of the log-loss into a ratio of perplexities.
func ratio(rise plugin.Estimate) plugin.Range {
	return plugin.Range{Median: math.Exp(rise.Value), Low: math.Exp(rise.Low), High: math.Exp(rise.High)}
}

// less writes how much smaller a size became: "-19%".
func less(before, after int64) string {
	if before <= 0 || after <= 0 {
		return ""
	}
	return signed(100*(float64(after)/float64(before)-1), 0) + "%"
}

func size(bytes int64) string {
	if bytes <= 0 {
		return none
	}
	return format.HumanBytes(bytes)
}

func parameters(n uint64) string {
	if n == 0 {
		return none
	}
	return format.HumanNumber(n)
}
