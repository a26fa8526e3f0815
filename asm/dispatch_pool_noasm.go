//go:build !amd64 || noasm

package asm

func maxPool(at, width int, x0, x1, y []float32, mask []int32) {
	maxPoolGeneric(at, width, x0, x1, y, mask)
}

func maxPoolBackward(at, width int, dy []float32, mask []int32, dx0, dx1 []float32) {
	maxPoolBackwardGeneric(at, width, dy, mask, dx0, dx1)
}

func maxPoolLanes(x0, x1, y []float32, chosen []uint16) { maxPoolLanesGeneric(x0, x1, y, chosen) }

func maxPoolLanesBackward(dy []float32, chosen []uint16, dx0, dx1 []float32) {
	maxPoolLanesBackwardGeneric(dy, chosen, dx0, dx1)
}

func maxPoolWindows(w *Windows, at int, x, y []float32, places []int32) {
	maxPoolWindowsGeneric(w, at, x, y, places)
}

func meanPoolWindows(w *Windows, divisor float32, x, y []float32) {
	meanPoolWindowsGeneric(w, divisor, x, y)
}
