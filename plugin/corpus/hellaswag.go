package corpus

import (
	"fmt"
	"strconv"
	"strings"
)

const hellaSwagShape = "six lines a task: the context, the index (0 to 3) of the right ending, and four endings"

// parseHellaSwag reads the text format that llama.cpp's perplexity tool takes
// for HellaSwag. As there, a space comes between the context and an ending.
func parseHellaSwag(name string, lines []string) (all parsed, err error) {
	const perTask = 6
	if len(lines) < 2 || !isIndex(lines[1]) {
		return all, fmt.Errorf("line %d: this is neither JSON lines nor HellaSwag's text, which has an index on line 2; write %s on each line, or %s",
			min(len(lines), 2), questionShape, hellaSwagShape)
	}
	for first := 0; first < len(lines); first += perTask {
		task := lines[first:min(first+perTask, len(lines))]
		if len(task) > 1 && !isIndex(task[1]) {
			return all, fmt.Errorf("line %d: %.40q is not a number, so a line is missing or too many above; give %s", first+2, task[1], hellaSwagShape)
		}
		if len(task) < perTask {
			return all, fmt.Errorf("line %d: the last task breaks off after %d of 6 lines; give %s", first+len(task), len(task), hellaSwagShape)
		}
		q := Question{Kind: name, Context: task[0]}
		q.Answer, _ = strconv.Atoi(strings.TrimSpace(task[1]))
		for i, ending := range task[2:] {
			if strings.TrimSpace(ending) == "" {
				return all, fmt.Errorf("line %d: ending %d is empty; give %s", first+3+i, i, hellaSwagShape)
			}
			q.Choices = append(q.Choices, " "+ending)
		}
		q.settle()
		if err := all.add(q, fmt.Sprintf("lines %d-%d", first+1, first+perTask)); err != nil {
			return all, err
		}
	}
	return all, nil
}

func isIndex(line string) bool {
	_, err := strconv.Atoi(strings.TrimSpace(line))
	return err == nil
}
