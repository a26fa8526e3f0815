//go:build !amd64 || noasm

package asm

func affine(a, b *LaneVector, x, y []float32) {
	affineGeneric(a, b, x, y)
}

func standardize(mean, inverse *LaneVector, x, y, keep []float32) {
	standardizeGeneric(mean, inverse, x, y, keep)
}

func standardizeBackward(mean, dot, inverse *LaneVector, y, dy, dx []float32) {
	standardizeBackwardGeneric(mean, dot, inverse, y, dy, dx)
}

func laneReLU(slope *LaneVector, x, y []float32) {
	laneReLUGeneric(slope, x, y)
}

func laneReLUBackward(slope *LaneVector, x, dy, dx []float32) {
	laneReLUBackwardGeneric(slope, x, dy, dx)
}

func laneSums(x, y []float32, sum, dot *[Lanes]float64) {
	laneSumsGeneric(x, y, sum, dot)
}

func product(x, y, z []float32) {
	productGeneric(x, y, z)
}

func power34(x, y []float32) {
	power34Generic(x, y)
}

func lrnRatios(p, x, scale, dy, dx, r []float32) {
	lrnRatiosGeneric(p, x, scale, dy, dx, r)
}

func subtractProduct(alpha *LaneVector, x, r, dx []float32) {
	subtractProductGeneric(alpha, x, r, dx)
}
