package heal

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// available is how much memory can be had without swapping, in bytes; 0 if that is
// not known.
func available() int64 { return kilobytes("/proc/meminfo", "MemAvailable:") }

// installed is all the memory that there is, in bytes; 0 if that is not known.
func installed() int64 { return kilobytes("/proc/meminfo", "MemTotal:") }

// peakMemory is the most memory that this process held at a time, in bytes.
func peakMemory() int64 { return kilobytes("/proc/self/status", "VmHWM:") }

// kilobytes reads a line of a file such as "VmHWM:  1234 kB".
func kilobytes(path, key string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), key); ok {
			var n int64
			fmt.Sscan(rest, &n)
			return n << 10
		}
	}
	return 0
}
