package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse reads a user's corpus: UTF-8 text, which becomes one document, or JSON
// lines, which become one document each. The name appears in errors and is the
// Style of the documents.
//
// Data is read as JSON lines if the name ends in .jsonl or .ndjson, or if its
// first line is a JSON object. A line holds "text", or "messages" with "role" and
// "content", or "prompt" and "response"; other keys are ignored, and so are
// lines and texts that are blank.
//
// A byte order mark is dropped, CRLF becomes LF, and white space around a document
// is trimmed. Errors name the byte or the line at fault, and what to do.
func Parse(name string, data []byte) ([]Document, error) {
	if name == "" {
		name = "text"
	}
	docs, err := parse(name, data)
	if err != nil {
		return nil, fmt.Errorf("read corpus %s: %w", name, err)
	}
	return docs, nil
}

func parse(name string, data []byte) ([]Document, error) {
	if err := checkText(data); err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var texts []string
	if isJSONLines(name, data) {
		var err error
		if texts, err = parseJSONLines(data); err != nil {
			return nil, err
		}
	} else {
		texts = []string{string(data)}
	}
	var docs []Document
	for _, text := range texts {
		text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
		if text != "" {
			docs = append(docs, Document{name, text})
		}
	}
	if len(docs) == 0 {
		return nil, errors.New("it holds no text; send some, or leave the corpus out to use the one that comes with Pare")
	}
	return docs, nil
}

// checkText refuses what no tokenizer should see, at the offset of the first
// byte at fault.
func checkText(data []byte) error {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == 0:
			return fmt.Errorf("byte %d is NUL, so this is a binary file or UTF-16; send UTF-8 text or JSON lines", i)
		case r == utf8.RuneError && size == 1:
			return fmt.Errorf("byte %d (0x%02x) is not UTF-8; convert the file to UTF-8 first", i, data[i])
		}
		i += size
	}
	return nil
}

func isJSONLines(name string, data []byte) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jsonl", ".ndjson":
		return true
	}
	first, _, _ := bytes.Cut(bytes.TrimSpace(data), []byte("\n"))
	return bytes.HasPrefix(first, []byte("{")) && json.Valid(first)
}

func parseJSONLines(data []byte) ([]string, error) {
	var texts []string
	number := 0
	for line := range bytes.Lines(data) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		text, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// shapes shows people what a line may look like.
const shapes = `{"text": "…"}, {"prompt": "…", "response": "…"} or {"messages": [{"role": "user", "content": "…"}]}`

// record is a line of a data set, in any of the shapes that are common.
type record struct {
	Text     *string   `json:"text"`
	Messages []message `json:"messages"`
	Prompt   *string   `json:"prompt"`
	Response *string   `json:"response"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func parseLine(line []byte) (string, error) {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		var wrong *json.UnmarshalTypeError
		switch {
		case !errors.As(err, &wrong):
			return "", fmt.Errorf("%w; put one whole JSON object on each line", err)
		case wrong.Field == "":
			return "", fmt.Errorf("a JSON %s is not a document; write %s", wrong.Value, shapes)
		default:
			return "", fmt.Errorf("%q is a JSON %s; write %s", wrong.Field, wrong.Value, shapes)
		}
	}
	text, err := r.flatten()
	if err != nil {
		return "", err
	}
	if strings.ContainsRune(text, 0) {
		return "", errors.New("the text holds a NUL character; remove it")
	}
	return text, nil
}

// flatten turns a record into the text that a model would read. Turns of a chat
// are labelled plainly: a model's own template is for whoever runs the text.
func (r record) flatten() (string, error) {
	switch {
	case r.Text != nil:
		return *r.Text, nil
	case len(r.Messages) > 0:
		var turns []string
		for i, m := range r.Messages {
			if m.Role == "" {
				return "", fmt.Errorf(`message %d has no "role"; give it one, such as "user"`, i+1)
			}
			if strings.TrimSpace(m.Content) != "" {
				turns = append(turns, title(m.Role)+": "+m.Content)
			}
		}
		return strings.Join(turns, "\n\n"), nil
	case r.Prompt != nil && r.Response != nil:
		return *r.Prompt + "\n\n" + *r.Response, nil
	}
	return "", errors.New("the object holds no text; write " + shapes)
}

func title(role string) string {
	first, size := utf8.DecodeRuneInString(role)
	return string(unicode.ToUpper(first)) + role[size:]
}
