// Package rng makes random streams that depend only on what they are keyed by
// (the run's seed, a layer's name, an iteration, a sample), never on how many
// threads run or how far ahead data are fetched. The state of a run's random
// numbers is therefore just its counters, which is what makes an exact resume
// possible.
package rng

import "math/rand/v2"

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection
// whose output bits each depend on every input bit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Key folds a name and counters into a seed, giving a new seed.
func Key(seed uint64, name string, counters ...uint64) uint64 {
	h := mix(seed)
	for i := 0; i < len(name); i++ {
		h = mix(h ^ uint64(name[i]))
	}
	h = mix(h ^ uint64(len(name))<<32)
	for _, c := range counters {
		h = mix(h ^ c)
	}
	return h
}

// New returns the stream of the given key: equal arguments give equal streams.
func New(seed uint64, name string, counters ...uint64) *rand.Rand {
	k := Key(seed, name, counters...)
	return rand.New(rand.NewPCG(k, mix(k)))
}

// Source returns the generator under New's stream, for loops that draw raw
// bits and must not allocate.
func Source(seed uint64, name string, counters ...uint64) rand.PCG {
	var p rand.PCG
	k := Key(seed, name, counters...)
	p.Seed(k, mix(k))
	return p
}
