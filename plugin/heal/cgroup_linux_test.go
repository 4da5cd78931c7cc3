package heal

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestControlGroupsBoundTheMemory(t *testing.T) {
	for name, c := range map[string]struct {
		says  string
		files map[string]string
		want  []group
	}{
		"container": {"0::/\n", map[string]string{
			"memory.max": "8000\n", "memory.current": "3000\n", "memory.stat": "anon 10\ninactive_file 1000\n",
		}, []group{{8000, 2000}}},
		"service in a slice": {"0::/a.slice/b.service\n", map[string]string{
			"a.slice/b.service/memory.max": "max\n", "a.slice/b.service/memory.current": "10\n",
			"a.slice/memory.max": "500\n", "a.slice/memory.current": "20\n",
		}, []group{{500, 20}}},
		"container of old, of which the root is to be seen": {"5:cpu,cpuacct:/x\n4:memory:/docker/x\n0::/docker/x\n", map[string]string{
			"memory/memory.limit_in_bytes": "700\n", "memory/memory.usage_in_bytes": "100\n", "memory/memory.stat": "total_inactive_file 40\n",
		}, []group{{700, 60}}},
		"none": {"", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, "cgroup")
			if err := os.WriteFile(file, []byte(c.says), 0o600); err != nil {
				t.Fatal(err)
			}
			for path, data := range c.files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := groupsOf(file, root); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
