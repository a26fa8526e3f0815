// Package glog writes Caffe's log sentences through slog: it formats numbers
// as Caffe's C++ streams do and keeps the caller's source position, which the
// program's handler prints in glog's prefix.
package glog

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strconv"
	"time"
)

// Discard is a logger that drops everything.
var Discard = slog.New(slog.DiscardHandler)

// Infof logs a sentence at Info level as from the caller's line.
func Infof(l *slog.Logger, format string, args ...any) { logf(l, slog.LevelInfo, format, args) }

// Warnf logs a sentence at Warn level as from the caller's line.
func Warnf(l *slog.Logger, format string, args ...any) { logf(l, slog.LevelWarn, format, args) }

// Errorf logs a sentence at Error level as from the caller's line.
func Errorf(l *slog.Logger, format string, args ...any) { logf(l, slog.LevelError, format, args) }

func logf(l *slog.Logger, level slog.Level, format string, args []any) {
	if !l.Enabled(context.Background(), level) {
		return
	}
	var pc [1]uintptr
	runtime.Callers(3, pc[:]) // Callers, logf, Infof
	r := slog.NewRecord(time.Now(), level, fmt.Sprintf(format, args...), pc[0])
	_ = l.Handler().Handle(context.Background(), r) // a log that cannot be written must not stop training
}

// G formats a number as a C++ stream does by default: %g with six digits.
func G[T float32 | float64](v T) string {
	f := float64(v)
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return strconv.FormatFloat(f, 'g', 6, 64)
}
