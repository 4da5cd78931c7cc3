package corpus

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// A Question is answered by the choice that a model finds most likely behind the
// context. Text is continued as it stands: nothing comes between the context and
// a choice, so the choice begins with the space or the newline that it needs.
type Question struct {
	Kind    string // of task, or the name of what it was read from
	Context string // valid UTF-8, neither empty nor ending in white space
	Choices []string
	Answer  int // index in Choices of the right one
}

// DigestQuestions returns "sha256:" and the hex digest of questions. It depends
// on their order, and on the kind, context, choices and answer of each.
func DigestQuestions(questions []Question) string {
	h := sha256.New()
	field := func(s string) {
		fmt.Fprintf(h, "%d ", len(s))
		io.WriteString(h, s)
	}
	for _, q := range questions {
		field(q.Kind)
		field(q.Context)
		fmt.Fprintf(h, "%d of %d\n", q.Answer, len(q.Choices))
		for _, c := range q.Choices {
			field(c)
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// settle moves white space from the end of the context to the front of each
// choice: tokenizers join it to the word behind it, and a context that keeps it ends
// in a token that no model has seen there.
func (q *Question) settle() {
	context := strings.TrimRightFunc(q.Context, unicode.IsSpace)
	gap := q.Context[len(context):]
	if gap == "" {
		return
	}
	q.Context = context
	for i, c := range q.Choices {
		q.Choices[i] = gap + c
	}
}

// errNoWinner is of a question that nobody can answer.
var errNoWinner = errors.New("neither can win")

// check says what keeps a question from being asked. Choices that are equal are an
// errNoWinner, and what is wrong otherwise comes before that.
func (q Question) check() error {
	if strings.TrimSpace(q.Context) == "" {
		return errors.New("the context is empty; write the text that the choices continue")
	}
	if err := checkCount(q.Choices); err != nil {
		return err
	}
	if strings.ContainsRune(q.Context, 0) {
		return errors.New("the context holds a NUL character; remove it")
	}
	for i, c := range q.Choices {
		switch {
		case strings.TrimSpace(c) == "":
			return fmt.Errorf("choice %d is empty; write some text or leave it out (the first is choice 0)", i)
		case strings.ContainsRune(c, 0):
			return fmt.Errorf("choice %d holds a NUL character; remove it (the first is choice 0)", i)
		}
	}
	if q.Answer < 0 || q.Answer >= len(q.Choices) {
		return fmt.Errorf("answer %d is out of range; the choices count from 0, so give 0 to %d", q.Answer, len(q.Choices)-1)
	}
	for i, c := range q.Choices {
		if j := slices.Index(q.Choices, c); j < i {
			return fmt.Errorf("choices %d and %d are equal (%q), so %w; change one (the first is choice 0)", j, i, c, errNoWinner)
		}
	}
	return nil
}

func checkCount(choices []string) error {
	if len(choices) < 2 {
		return fmt.Errorf("there are too few choices (%d); give two or more", len(choices))
	}
	return nil
}
