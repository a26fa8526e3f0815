package memory

import (
	"math"
	"os"
	"strconv"
	"strings"
)

// available returns how many bytes the kernel thinks can be had without
// swapping, and swap; at most what the control group of a container leaves.
func available() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return unknown
	}
	free, found := int64(0), false
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "MemAvailable" && name != "SwapFree" {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil || kib > math.MaxInt64>>10 {
			return unknown
		}
		free += kib << 10
		found = found || name == "MemAvailable"
	}
	if !found {
		return unknown
	}
	most, err1 := number("/sys/fs/cgroup/memory.max")
	used, err2 := number("/sys/fs/cgroup/memory.current")
	if err1 == nil && err2 == nil {
		free = min(free, max(0, most-used))
	}
	return free
}

func number(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}
