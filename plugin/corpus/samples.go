package corpus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// sampleShape shows what the arguments of a logged sample look like.
const sampleShape = `"arguments" [["context", "continuation"], …] or {"gen_args_0": {"arg_0": "context", "arg_1": "continuation"}, …}, one for each choice`

// sample reads a sample of a multiple-choice task as lm-evaluation-harness logs
// it: one argument for each choice, which is a context and its continuation.
func (r questionRecord) sample() (Question, error) {
	if isNull(r.Target) {
		return Question{}, errors.New(`there is no "target"; log the samples of a multiple-choice task`)
	}
	pairs, err := samplePairs(r.Arguments)
	if err != nil {
		return Question{}, err
	}
	var q Question
	for i, p := range pairs {
		// Tasks that also measure the choices alone list them again behind an empty context.
		if p[0] == "" {
			continue
		}
		if len(q.Choices) > 0 && p[0] != q.Context {
			return Question{}, fmt.Errorf("argument %d has a context of its own, as in WinoGrande; take a task whose choices continue one and the same context", i)
		}
		q.Context = p[0]
		q.Choices = append(q.Choices, p[1])
	}
	if err := checkCount(q.Choices); err != nil {
		return Question{}, err
	}
	q.Answer, err = readTarget(r.Target, q.Choices)
	return q, err
}

// readTarget reads a target. The harness writes an index as a string, so that
// a number is one even where a choice has the same text.
func readTarget(target json.RawMessage, choices []string) (int, error) {
	var text string
	if json.Unmarshal(target, &text) == nil {
		if index, err := strconv.Atoi(text); err == nil && index >= 0 && index < len(choices) {
			return index, nil
		}
	}
	return readAnswer("target", target, choices)
}

// samplePairs reads arguments in both of the shapes in which they are logged.
func samplePairs(raw json.RawMessage) ([][2]string, error) {
	var rows [][]json.RawMessage
	if json.Unmarshal(raw, &rows) != nil {
		var named map[string]map[string]json.RawMessage
		if json.Unmarshal(raw, &named) != nil {
			return nil, errors.New("the arguments are of another shape; a sample has " + sampleShape)
		}
		for i := range len(named) {
			arg, ok := named[fmt.Sprintf("gen_args_%d", i)]
			if !ok {
				return nil, fmt.Errorf("there is no gen_args_%d; a sample has %s", i, sampleShape)
			}
			rows = append(rows, []json.RawMessage{arg["arg_0"], arg["arg_1"]})
		}
	}
	pairs := make([][2]string, len(rows))
	for i, row := range rows {
		if len(row) != 2 || json.Unmarshal(row[0], &pairs[i][0]) != nil || json.Unmarshal(row[1], &pairs[i][1]) != nil {
			return nil, fmt.Errorf("argument %d is not a context and a continuation, so this is no multiple-choice task; a sample has %s", i, sampleShape)
		}
	}
	return pairs, nil
}
