package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// A Line is one JSON value of a data set.
type Line struct {
	Number int // of the line of the file on which it begins, from 1
	JSON   json.RawMessage
}

// Lines splits a data set into its values: JSON lines, which it tells as Parse does
// and which need not be valid JSON, or a JSON array of objects. A file named .json
// must be one of them, over as many lines as it likes. Anything else is text, of which
// the lines are nil.
func Lines(name string, data []byte) ([]Line, error) {
	if err := checkText(data); err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	named := strings.ToLower(path.Ext(name)) == ".json"
	switch {
	case named:
		return jsonValues(data)
	case isJSONLines(name, data):
		return splitLines(data), nil
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")):
		lines, err := jsonValues(data)
		if err != nil || len(lines) == 0 || lines[0].JSON[0] != '{' {
			return nil, nil // prose may begin with a bracket
		}
		return lines, nil
	}
	return nil, nil
}

// splitLines returns the lines that are not blank.
func splitLines(data []byte) []Line {
	lines := []Line{}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, Line{number, line})
		}
	}
	return lines
}

// jsonValues returns the values of a JSON array, or those that follow one another.
func jsonValues(data []byte) ([]Line, error) {
	lines := []Line{}
	number, counted := 1, 0
	lineAt := func(offset int) int {
		number += bytes.Count(data[counted:offset], []byte("\n"))
		counted = offset
		return number
	}
	wrong := func(offset int, err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			offset, err = len(data), errors.New("the file ends in the middle of a JSON value")
		}
		return fmt.Errorf("line %d: %w; write a JSON array of objects, or one object on each line", lineAt(offset), err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	array := bytes.HasPrefix(bytes.TrimSpace(data), []byte("["))
	if array {
		d.Token() // the bracket
	}
	for d.More() {
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, wrong(int(d.InputOffset()), err)
		}
		lines = append(lines, Line{lineAt(int(d.InputOffset()) - len(value)), value})
	}
	if array {
		if _, err := d.Token(); err != nil {
			return nil, wrong(int(d.InputOffset()), err)
		}
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, wrong(int(d.InputOffset()), errors.New("something follows the last JSON value"))
	}
	return lines, nil
}
