package heal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A group is a control group whose memory is bounded, in bytes.
type group struct {
	limit, used int64 // files that are cached and not in use are not counted: they give way
}

// A hierarchy says where groups keep their numbers.
type hierarchy struct {
	folder, limit, used, cached string
}

var (
	unified = hierarchy{"", "memory.max", "memory.current", "inactive_file"}
	legacy  = hierarchy{"memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
)

// groupsOf are the groups that the process of a cgroup file (cgroups(7)) is in, those above
// them included, so far as they have a limit. root is where they are mounted. In a container the
// path may be that of the machine, of which only the root is to be seen.
func groupsOf(file, root string) (all []group) {
	lines, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(lines)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		h := legacy
		switch {
		case id == "0" && controllers == "":
			h = unified
		case !slices.Contains(strings.Split(controllers, ","), "memory"):
			continue
		}
		for path = filepath.Clean("/" + path); ; path = filepath.Dir(path) {
			if g, ok := h.read(filepath.Join(root, h.folder, path)); ok {
				all = append(all, g)
			}
			if path == "/" {
				break
			}
		}
	}
	return all
}

// read reads the numbers of a group, unless it has no limit.
func (h hierarchy) read(folder string) (g group, ok bool) {
	number := func(name string) (n int64, err error) {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err == nil {
			_, err = fmt.Sscan(string(data), &n) // not "max"
		}
		return n, err
	}
	var errs [2]error
	g.limit, errs[0] = number(h.limit)
	g.used, errs[1] = number(h.used)
	g.used = max(0, g.used-field(filepath.Join(folder, "memory.stat"), h.cached+" "))
	return g, errs == [2]error{}
}
