package conv

import "crema/asm"

// A winoLoop is what a task of a loop does, and what it costs.
type winoLoop struct {
	do   func(t *winograd, task int)
	cost func(t *winograd, task int) float64
}

var (
	winoFilters   = winoLoop{(*winograd).panelFilters, (*winograd).panelFiltersCost}
	winoFused     = winoLoop{(*winograd).fused, (*winograd).fusedCost}
	winoPanel     = winoLoop{(*winograd).ownPanel, (*winograd).ownPanelCost}
	winoInput     = winoLoop{(*winograd).sharedInput, (*winograd).sharedInputCost}
	winoProduct   = winoLoop{(*winograd).sharedProduct, (*winograd).sharedProductCost}
	winoOutput    = winoLoop{(*winograd).sharedOutput, (*winograd).sharedOutputCost}
	winoChunk     = winoLoop{(*winograd).chunk, (*winograd).chunkCost}
	winoAddParts  = winoLoop{(*winograd).addParts, (*winograd).addPartsCost}
	winoGradient  = winoLoop{(*winograd).sharedGradient, (*winograd).sharedGradientCost}
	winoSums      = winoLoop{(*winograd).sharedSums, (*winograd).sharedSumsCost}
	winoTapSums   = winoLoop{(*winograd).sharedTaps, (*winograd).sharedTapsCost}
	winoPanelSums = winoLoop{(*winograd).panelSums, (*winograd).panelSumsCost}
	winoBiases    = winoLoop{(*winograd).biases, (*winograd).biasesCost}
)

// Operations of the transforms of a tile of a channel or of a filter: that of
// a row or column (package asm's WinoKernel has the matrices) times their
// number.
const (
	winoInputOps    = 18 * (6 + 6)
	winoGradientOps = 14 * (4 + 6)
	winoFilterOps   = 12 * (3 + 6)
	winoOutputOps   = 13 * (6 + 4)
	winoWeightsOps  = 11 * (6 + 3)
)

func (t *winograd) panelFiltersCost(task int) float64 {
	return float64(t.kern.NR * min(winoChannels, t.c-task/t.groups*winoChannels) * winoFilterOps)
}

func (t *winograd) fusedCost(task int) float64 {
	tiles := t.count(part(t.rects(), t.groups, task))
	return float64(tiles) * float64(t.c*winoInputOps+t.k*winoOutputOps+asm.WinoPoints*t.c*t.k)
}

func (t *winograd) ownPanelCost(task int) float64 {
	k := min(t.kern.NR, t.k-task*t.kern.NR)
	return float64(t.tiles)*float64(k*winoOutputOps+asm.WinoPoints*t.c*t.kern.NR) + float64(t.c*t.kern.NR*winoFilterOps)
}

func (t *winograd) sharedInputCost(task int) float64 {
	return float64(t.rect(t.lo+task/lanes(t.c)).tiles() * asm.WinoLanes * winoInputOps)
}

// widths is the sum of the widths of every step-th panel of n columns, from
// panel first on.
func (t *winograd) widths(n, first, step int) int {
	sum := 0
	for k := first * t.kern.NR; k < n; k += step * t.kern.NR {
		sum += min(t.kern.NR, n-k)
	}
	return sum
}

func (t *winograd) sharedProductCost(task int) float64 {
	_, group, slice := t.piece(task)
	lo, hi := part(t.tiles, t.slices, slice)
	return float64((hi-lo)*t.c) * float64(t.widths(roundUp(t.kn, t.kern.NR), group, t.groups))
}

func (t *winograd) sharedOutputCost(task int) float64 {
	return float64(t.rect(t.lo+task/t.groups).tiles() * asm.WinoLanes * winoOutputOps)
}

func (t *winograd) chunkCost(task int) float64 {
	tiles := t.count(part(t.rects(), t.chunks, task))
	return float64(tiles)*float64(t.c*winoInputOps+t.k*winoGradientOps+asm.WinoPoints*t.c*t.k) + float64(t.c*t.k*winoWeightsOps)
}

func (t *winograd) addPartsCost(int) float64 { return float64(t.chunks * t.c * winoTaps) }

func (t *winograd) sharedGradientCost(task int) float64 {
	return float64(t.rect(t.lo+task/t.groups).tiles() * asm.WinoLanes * winoGradientOps)
}

func (t *winograd) sharedSumsCost(task int) float64 {
	_, group, slice := t.piece(task)
	return float64(t.tiles) * float64(t.widths(t.c, slice, t.slices)) * float64(t.widths(roundUp(t.kn, t.kern.NR), group, t.groups))
}

func (t *winograd) panelSumsCost(task int) float64 {
	k := float64(min(t.kern.NR, t.k-task*t.kern.NR))
	return float64(t.tiles)*(k*winoGradientOps+float64(asm.WinoPoints*t.c*t.kern.NR)) + k*float64(t.c)*winoWeightsOps
}

func (t *winograd) sharedTapsCost(task int) float64 {
	k, c := task%t.groups*t.kern.NR, task/t.groups*winoChannels
	return float64(min(t.kern.NR, t.kn-k) * min(winoChannels, t.c-c) * winoWeightsOps)
}

func (t *winograd) biasesCost(int) float64 { return float64(t.rects() * asm.WinoLanes) }
