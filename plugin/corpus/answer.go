package corpus

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// readAnswer returns the index of the right choice. The JSON value is the index,
// or a string that holds the index, a letter from A or the choice itself. An
// index that comes as a number is not held against the choices.
func readAnswer(field string, value json.RawMessage, choices []string) (int, error) {
	var text string
	if json.Unmarshal(value, &text) != nil {
		index, err := strconv.Atoi(string(value))
		if err != nil {
			return 0, fmt.Errorf("%q is %.40s, which is not a whole number; give the index of the right choice, counted from 0", field, value)
		}
		return index, nil
	}
	text = strings.TrimSpace(text)
	readings := answerReadings(text, choices)
	switch len(readings) {
	case 0:
		return 0, fmt.Errorf("%q is %.40q, which is no choice, nor the index or letter of one; give a number from 0 to %d", field, text, len(choices)-1)
	case 1:
		return readings[0], nil
	}
	return 0, fmt.Errorf("%q is %.40q, which may mean choice %d or choice %d (the first is choice 0); give the index as a number", field, text, readings[0], readings[1])
}

// answerReadings returns, each once, the choices that a text may mean.
func answerReadings(text string, choices []string) []int {
	var readings []int
	add := func(i int) {
		if i >= 0 && i < len(choices) && !slices.Contains(readings, i) {
			readings = append(readings, i)
		}
	}
	if i, err := strconv.Atoi(text); err == nil {
		add(i)
	}
	if len(text) == 1 {
		add(int(text[0]) - 'A')
		add(int(text[0]) - 'a')
	}
	for i, c := range choices {
		if strings.TrimSpace(c) == text {
			add(i)
		}
	}
	return readings
}
