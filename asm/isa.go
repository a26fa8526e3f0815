package asm

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"crema/internal/cpu"
)

// isa is an instruction set, in order of preference.
type isa int32

const (
	generic isa = iota
	avx2
	avx512
	numISA
)

// isaNames are the values of CREMA_ISA.
var isaNames = [numISA]string{generic: "generic", avx2: "avx2", avx512: "avx512"}

// EnvVar is the environment variable that asks for an instruction set.
const EnvVar = "CREMA_ISA"

var (
	current atomic.Int32 // an isa
	envErr  error
)

func init() {
	current.Store(int32(best()))
	if name := os.Getenv(EnvVar); name != "" {
		if err := Select(name); err != nil {
			envErr = fmt.Errorf("%s: %w", EnvVar, err)
		}
	}
}

// has reports whether this build and this machine can run i.
func (i isa) has() bool {
	switch i {
	case generic:
		return true
	case avx2:
		return haveAsm && cpu.AVX2()
	case avx512:
		return haveAsm && cpu.AVX512()
	}
	return false
}

func best() isa {
	for i := numISA - 1; i > generic; i-- {
		if i.has() {
			return i
		}
	}
	return generic
}

// ISA returns the name of the instruction set in use: generic, avx2 or avx512.
func ISA() string { return isaNames[current.Load()] }

// Available returns the names of the instruction sets that this build and this
// machine can run, the portable one first, the best last.
func Available() []string {
	var s []string
	for i := range numISA {
		if i.has() {
			s = append(s, isaNames[i])
		}
	}
	return s
}

// Select makes all kernels run on the named instruction set. It returns an
// error, and changes nothing, if the name is unknown or the CPU (or the build)
// lacks it.
func Select(name string) error {
	for i := range numISA {
		if isaNames[i] != name {
			continue
		}
		if !i.has() {
			return fmt.Errorf("instruction set %s is not available on this CPU (available: %s)", name, strings.Join(Available(), ", "))
		}
		current.Store(int32(i))
		return nil
	}
	return fmt.Errorf("unknown instruction set %q (known: %s)", name, strings.Join(isaNames[:], ", "))
}

// EnvError returns what was wrong with CREMA_ISA at start, or nil. The best
// instruction set is in use then; a program should end with this error.
func EnvError() error { return envErr }
