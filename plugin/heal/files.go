package heal

import (
	"cmp"
	"fmt"
	"os"

	"pare/plugin"
)

// readFile reads what the host keeps of a request.
func readFile(c plugin.Corpus) (name string, data []byte, err error) {
	name = cmp.Or(c.Name, "data")
	if data, err = os.ReadFile(c.Path); err != nil {
		return "", nil, fmt.Errorf("read %s: %w", name, err)
	}
	return name, data, nil
}
