// Package cpu tells which instruction sets and caches the machine has.
package cpu

import "github.com/klauspost/cpuid/v2"

// AVX2 reports whether AVX2 and FMA can be used.
func AVX2() bool { return cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.BMI2) }

// AVX512 reports whether the AVX-512 of server CPUs since 2017 (F, BW, DQ, VL)
// can be used.
func AVX512() bool {
	return AVX2() && cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL)
}

// Name returns the CPU's brand string, or "unknown CPU".
func Name() string {
	if n := cpuid.CPU.BrandName; n != "" {
		return n
	}
	return "unknown CPU"
}

// L2 returns the size in bytes of a core's level-2 cache; a small one if the CPU
// does not tell.
func L2() int {
	if n := cpuid.CPU.Cache.L2; n > 0 {
		return n
	}
	return 256 << 10
}
