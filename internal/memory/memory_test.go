package memory

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, n := range []int64{0, 1, large} {
		if err := Check(n); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	err := Check(1 << 60)
	if runtime.GOOS != "linux" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) || e.Asked != 1<<60 || e.Available < 1<<20 || e.Available > 1<<50 {
		t.Fatalf("an exbibyte: %v", err)
	}
	if s := err.Error(); !strings.Contains(s, "1.07e+09 GiB") || !strings.Contains(s, "are free") {
		t.Errorf("error %q", s)
	}
}
