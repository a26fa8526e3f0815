// Package par spreads loops over the processor's cores: a pool of goroutines
// that stay alive between loops, and a pool of scratch memory.
//
// A loop is a number of tasks, handed out one by one to whichever worker is
// free; the calling goroutine is one of the workers. Tasks run concurrently in
// any order, so a task must write only what is its own, and a sum may be split
// only into parts whose number does not depend on the number of workers. Then
// results are the same, bit for bit, for any number of workers.
//
// Loops may be started from several goroutines at once and from within tasks:
// whoever finds no idle worker does its tasks itself.
package par
