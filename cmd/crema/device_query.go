package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"crema/asm"
	"crema/internal/cpu"

	"github.com/klauspost/cpuid/v2"
)

func init() {
	register(command{name: "device_query", args: "", summary: "show what computes: CPU, caches, instruction sets", group: groupTrain, run: runDeviceQuery})
}

// runDeviceQuery prints one "key: value" a line on the standard output.
func runDeviceQuery(args []string, s stdio) (err error) {
	fs := newFlags("device_query", "", s)
	f := addRunFlags(fs)
	f.accept(fs, "model", "phase", "solver", "snapshot", "iterations", "sigint_effect", "sighup_effect")
	r, err := f.start(fs, args, s)
	if err != nil {
		return err
	}
	defer func() { err = r.Close(err) }()
	for _, x := range []struct{ key, value string }{
		{"device", cpu.Name()},
		{"architecture", runtime.GOOS + "/" + runtime.GOARCH},
		{"physical cores", count(cpuid.CPU.PhysicalCores)},
		{"logical cores", count(cpuid.CPU.LogicalCores)},
		{"usable cores", fmt.Sprint(runtime.NumCPU())},
		{"threads", fmt.Sprint(runtime.GOMAXPROCS(0))},
		{"L1 data cache", formatSize(cpuid.CPU.Cache.L1D)},
		{"L2 cache", formatSize(cpuid.CPU.Cache.L2)},
		{"L3 cache", formatSize(cpuid.CPU.Cache.L3)},
		{"isa available", strings.Join(asm.Available(), ", ")},
		{"isa", asm.ISA()},
	} {
		if _, err := io.WriteString(s.out, x.key+": "+x.value+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// count writes a number that the CPU may not tell.
func count(n int) string {
	if n <= 0 {
		return "unknown"
	}
	return fmt.Sprint(n)
}

// formatSize writes a cache's size, which the CPU may not tell.
func formatSize(n int) string {
	switch {
	case n <= 0:
		return "unknown"
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
