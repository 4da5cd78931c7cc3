package heal

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// available is how much memory can be had without swapping, in bytes; 0 if that is
// not known. A control group, as every container is one, may be allowed less than the
// machine has.
func available() int64 {
	free := kilobytes("/proc/meminfo", "MemAvailable:")
	for _, g := range groups() {
		free = min(free, max(g.limit-g.used, 1))
	}
	return free
}

// installed is all the memory that there is for this process, in bytes; 0 if that is not known.
func installed() int64 {
	all := kilobytes("/proc/meminfo", "MemTotal:")
	for _, g := range groups() {
		all = min(all, g.limit)
	}
	return all
}

func groups() []group { return groupsOf("/proc/self/cgroup", "/sys/fs/cgroup") }

// peakMemory is the most memory that this process held at a time, in bytes.
func peakMemory() int64 { return kilobytes("/proc/self/status", "VmHWM:") }

// forgetPeak has peakMemory count from now on: the process does one job after another.
func forgetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// kilobytes reads a line of a file such as "VmHWM:  1234 kB", in bytes.
func kilobytes(path, key string) int64 { return field(path, key) << 10 }

// field is the number behind key, which begins a line of a file; 0 if there is none.
func field(path, key string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), key); ok {
			var n int64
			fmt.Sscan(rest, &n)
			return n
		}
	}
	return 0
}
