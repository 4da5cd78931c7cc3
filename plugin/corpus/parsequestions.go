package corpus

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// questionShape shows people what a line may look like.
const questionShape = `{"context": "…", "choices": ["…", "…"], "answer": 0}`

// ParseQuestions reads a user's multiple-choice questions. The name appears in
// errors and is the Kind of the questions. The format is known by the content:
//
//   - JSON lines with "context", "choices" and "answer": the index of the right
//     choice, counted from 0. A string may hold the index, a letter from A, or the
//     choice itself, where no two of these readings disagree.
//   - JSON lines as EleutherAI's lm-evaluation-harness logs the samples of its
//     multiple-choice tasks. "arguments" holds a context and a continuation for each
//     choice and "target" the right one; a number in it is always the index.
//   - The text format of llama.cpp's perplexity tool for HellaSwag.
//
// A byte order mark is dropped, blank lines are passed over in JSON lines, and
// white space at the end of a context is moved to the front of its choices. Questions
// with two equal choices, of which published sets have a few, are left out and counted,
// unless there are no others. Errors name the line at fault, what is wrong, and what
// would be right.
func ParseQuestions(name string, data []byte) (questions []Question, leftOut int, err error) {
	if name == "" {
		name = "questions"
	}
	all, err := parseQuestions(name, data)
	if err != nil {
		return nil, 0, fmt.Errorf("read questions %s: %w", name, err)
	}
	if len(all.questions) == 0 {
		return nil, 0, fmt.Errorf("read questions %s: %w", name, all.hopeless)
	}
	return all.questions, all.leftOut, nil
}

// parsed are the questions of a file so far.
type parsed struct {
	questions []Question
	leftOut   int
	hopeless  error // says what is wrong with the first that was left out
}

// add adds a question that stands where the words say, unless it cannot be asked.
func (p *parsed) add(q Question, where string) error {
	err := q.check()
	if err != nil {
		err = fmt.Errorf("%s: %w", where, err)
	}
	switch {
	case err == nil:
		p.questions = append(p.questions, q)
	case errors.Is(err, errNoWinner):
		p.leftOut++
		p.hopeless = cmp.Or(p.hopeless, err)
	default:
		return err
	}
	return nil
}

func parseQuestions(name string, data []byte) (parsed, error) {
	var all parsed
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	lines, err := textLines(data)
	if err != nil {
		return all, err
	}
	if len(lines) == 0 {
		return all, errors.New("it holds no questions; write one on each line: " + questionShape)
	}
	if !isJSONLines(name, data) && !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return parseHellaSwag(name, lines)
	}
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		where := fmt.Sprintf("line %d", i+1)
		q, err := parseQuestion(name, []byte(line))
		if err != nil {
			return all, fmt.Errorf("%s: %w", where, err)
		}
		if err := all.add(q, where); err != nil {
			return all, err
		}
	}
	return all, nil
}

// textLines returns the lines without their ends, up to the last that is not
// blank, once they are known to be text.
func textLines(data []byte) ([]string, error) {
	var lines []string
	used := 0
	for line := range bytes.Lines(data) {
		if err := checkText(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(lines)+1, err)
		}
		text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
		lines = append(lines, text)
		if strings.TrimSpace(text) != "" {
			used = len(lines)
		}
	}
	return lines[:used], nil
}

// questionRecord is a line of either of the two kinds.
type questionRecord struct {
	Context *string         `json:"context"`
	Choices []string        `json:"choices"`
	Answer  json.RawMessage `json:"answer"`

	Arguments json.RawMessage `json:"arguments"` // of a sample
	Target    json.RawMessage `json:"target"`
}

func parseQuestion(name string, line []byte) (Question, error) {
	var r questionRecord
	if err := json.Unmarshal(line, &r); err != nil {
		var wrong *json.UnmarshalTypeError
		switch {
		case !errors.As(err, &wrong):
			return Question{}, fmt.Errorf("%w; put one whole JSON object on each line", err)
		case wrong.Field == "":
			return Question{}, fmt.Errorf("a JSON %s is not a question; write %s", wrong.Value, questionShape)
		default:
			return Question{}, fmt.Errorf("%q holds a JSON %s; write %s", wrong.Field, wrong.Value, questionShape)
		}
	}
	read := r.question
	if r.Arguments != nil && r.Choices == nil {
		read = r.sample
	}
	q, err := read()
	if err != nil {
		return Question{}, err
	}
	q.Kind = name
	q.settle()
	return q, nil
}

func (r questionRecord) question() (Question, error) {
	switch {
	case r.Context == nil:
		return Question{}, errors.New(`there is no "context"; write ` + questionShape)
	case r.Choices == nil:
		return Question{}, errors.New(`there are no "choices"; write ` + questionShape)
	case isNull(r.Answer):
		return Question{}, errors.New(`there is no "answer"; write ` + questionShape)
	}
	if err := checkCount(r.Choices); err != nil {
		return Question{}, err
	}
	answer, err := readAnswer("answer", r.Answer, r.Choices)
	return Question{Context: *r.Context, Choices: r.Choices, Answer: answer}, err
}

func isNull(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }
