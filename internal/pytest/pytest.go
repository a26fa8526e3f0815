// Package pytest helps tests that run Python layers.
package pytest

import (
	"os"
	"sync"
	"testing"

	"crema/internal/pylayer"
)

var withNumpy = sync.OnceValue(func() string { return pylayer.WithNumpy("") })

// Need makes the test run Python layers with a Python that has numpy: that which
// CREMA_PYTHON names, or one that it finds. Without one, the test is skipped.
func Need(t testing.TB) {
	t.Helper()
	if os.Getenv(pylayer.EnvPython) != "" {
		return
	}
	python := withNumpy()
	if python == "" {
		t.Skip("there is no python3 with numpy (Debian, Ubuntu: apt-get install python3-numpy)")
	}
	t.Setenv(pylayer.EnvPython, python)
}
