package gemm

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"crema/asm"
	"crema/bench"
	"crema/internal/cpu"
	"crema/internal/kerneltest"
	"crema/internal/race"
	"crema/internal/ref"
)

// operands are the matrices of one product; strides exceed rows by gap.
type operands struct {
	transA, transB Transpose
	m, n, k        int
	a, b, c        []float32
	lda, ldb, ldc  int
	gap            int
}

func heap(n int) []float32 { return make([]float32, n) }

func newOperands(ta, tb Transpose, m, n, k, gap int, alloc func(int) []float32, fill func(uint64, []float32)) operands {
	o := operands{transA: ta, transB: tb, m: m, n: n, k: k, gap: gap, lda: k + gap, ldb: n + gap, ldc: n + gap}
	ra, ca, rb, cb := m, k, k, n
	if ta {
		ra, ca, o.lda = k, m, m+gap
	}
	if tb {
		rb, cb, o.ldb = n, k, k+gap
	}
	size := func(rows, cols, ld int) int {
		if rows == 0 || cols == 0 {
			return 0
		}
		return (rows-1)*ld + cols
	}
	o.a, o.b, o.c = alloc(size(ra, ca, o.lda)), alloc(size(rb, cb, o.ldb)), alloc(size(m, n, o.ldc))
	fill(1, o.a)
	fill(2, o.b)
	fill(3, o.c)
	return o
}

func (o *operands) run(alpha, beta float32) {
	Sgemm(o.transA, o.transB, o.m, o.n, o.k, alpha, o.a, o.lda, o.b, o.ldb, beta, o.c, o.ldc)
}

// reference returns what c should become, in float64, and keeps what lies
// between rows.
func (o *operands) reference(alpha, beta float32) []float64 {
	c := append([]float32(nil), o.c...)
	ref.Gemm(bool(o.transA), bool(o.transB), o.m, o.n, o.k, alpha, o.a, o.lda, o.b, o.ldb, beta, c, o.ldc)
	want := make([]float64, len(c))
	for i, v := range c {
		want[i] = float64(v)
	}
	return want
}

// clearC sets the elements of C to v, and those between its rows to 77.
func (o *operands) clearC(v float32) {
	for i := range o.c {
		o.c[i] = v
		if i%o.ldc >= o.n {
			o.c[i] = 77
		}
	}
}

var transposes = []struct {
	name string
	a, b Transpose
}{{"NN", NoTrans, NoTrans}, {"NT", NoTrans, Trans}, {"TN", Trans, NoTrans}, {"TT", Trans, Trans}}

// TestSgemmEdges compares with the reference at the edges of tiles and blocks.
// Integers must come out exactly, whatever is between rows must stay, and
// with beta 0 a NaN in C must vanish.
func TestSgemmEdges(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Sgemm()
		ms, ns := kerneltest.Edges(k.MR), kerneltest.Edges(k.NR)
		type size struct{ m, n, k int }
		var sizes []size
		for _, m := range ms {
			for _, n := range ns {
				sizes = append(sizes, size{m, n, 5})
			}
		}
		for _, kc := range kerneltest.Edges(k.KC) {
			sizes = append(sizes, size{k.MR + 1, k.NR + 1, kc}, size{3, 2, kc})
		}
		sizes = append(sizes,
			size{2*k.MR + 1, 3*k.NR - 1, 2*k.KC + 3}, size{97, 101, 103}, size{1, 509, 31}, size{509, 1, 31}, size{1, 1, 1009}, size{1, 1, 8200},
			size{0, 5, 5}, size{5, 0, 5}, size{5, 5, 0}, size{0, 0, 0})
		for _, tr := range transposes {
			for i, s := range sizes {
				gap := 3 * (i % 2)
				o := newOperands(tr.a, tr.b, s.m, s.n, s.k, gap, heap, kerneltest.Integers)
				o.clearC(0)
				product := o.reference(1, 0)
				want := make([]float64, len(product))
				for _, f := range []struct{ alpha, beta, c float32 }{{1, 0, kerneltest.NaN}, {2, 1, 8}, {-1, 0.5, 8}, {0, 2, 8}, {0, 0, kerneltest.NaN}} {
					o.clearC(f.c)
					for j, v := range product {
						switch {
						case j%o.ldc >= o.n:
							want[j] = 77
						case f.beta == 0:
							want[j] = float64(f.alpha) * v
						default:
							want[j] = float64(f.alpha)*v + float64(f.beta*f.c)
						}
					}
					o.run(f.alpha, f.beta)
					kerneltest.Close(t, fmt.Sprintf("%s/%dx%dx%d/gap=%d %v", tr.name, s.m, s.n, s.k, gap, f), o.c, want, 0)
				}
			}
		}
	})
}

func TestSgemmRandom(t *testing.T) {
	if race.Enabled {
		t.Skip("about values and bounds, and slow under the race detector")
	}
	references := map[string][]float64{}
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, tr := range transposes {
			for _, s := range [][3]int{{64, 196, 576}, {131, 67, 1021}, {6, 300, 2000}, {300, 6, 700}, {7, 517, 1021}, {16, 2051, 131}, {1, 4099, 66}, {8, 2051, 131}, {16, 517, 1021}, {37, 27, 700}, {17, 31, 9001}} {
				o := newOperands(tr.a, tr.b, s[0], s[1], s[2], 1, heap, kerneltest.Normals)
				name := fmt.Sprint(tr.name, s)
				want := references[name]
				if want == nil {
					want = o.reference(0.5, 1.5)
					references[name] = want
				}
				o.run(0.5, 1.5)
				kerneltest.Close(t, name, o.c, want, kerneltest.Bound(s[2]))
			}
		}
	})
}

// TestSgemmGuarded puts all operands against protected pages.
func TestSgemmGuarded(t *testing.T) {
	if race.Enabled {
		t.Skip("about values and bounds, and slow under the race detector")
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Sgemm()
		for _, atEnd := range []bool{true, false} {
			alloc := func(n int) []float32 { return kerneltest.Guarded(t, n, atEnd) }
			for _, tr := range transposes {
				for _, s := range [][3]int{{1, 1, 1}, {k.MR + 1, k.NR + 1, 9}, {k.MR - 1, 2*k.NR - 1, 33}, {35, 17, k.KC + 1}, {5, 70, 4000}, {8, 2051, 131}, {16, 517, 1025}, {7, 257, 1025}, {37, 27, 1024}, {15, 13, 8192}, {9, 31, 8199}} {
					gap := 1
					if atEnd {
						gap = 0
					}
					o := newOperands(tr.a, tr.b, s[0], s[1], s[2], gap, alloc, kerneltest.Integers)
					want := o.reference(1, 1)
					o.run(1, 1)
					kerneltest.Close(t, fmt.Sprint(tr.name, s, gap), o.c, want, 0)
				}
			}
		}
	})
}

// TestSgemmBlocks is so large that the rows, the columns and the depth are all
// cut into several blocks.
func TestSgemmBlocks(t *testing.T) {
	if race.Enabled {
		t.Skip("about values and bounds, and slow under the race detector")
	}
	depth := asm.Sgemm().KC
	rows, columns := packedRows/depthOf(depth+1, depth)+1, cpu.L2()/2/4/depthOf(depth+1, depth)+1
	for i, tr := range transposes {
		sizes := [][3]int{{cpu.L2()/4/depth + 1, 70, depth + 1}, {70, cpu.L2()/4/depth + 1, depth + 1}, {packedRows/64 + 1, 35, 64}}
		if i == 1 { // one suffices for what takes long
			sizes = append(sizes, [3]int{rows, columns, depth + 1})
		}
		for _, s := range sizes {
			o := newOperands(tr.a, tr.b, s[0], s[1], s[2], 0, heap, kerneltest.Integers)
			want := o.reference(1, 1)
			o.run(1, 1)
			kerneltest.Close(t, fmt.Sprint(tr.name, s), o.c, want, 0)
		}
	}
}

func TestSgemmSameBitsForAnyThreads(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, tr := range transposes {
			for _, s := range [][3]int{{200, 300, 500}, {64, 1000, 100}, {6, 901, 1203}, {900, 5, 600}, {64, 27, 1500}, {64, 27, 10240}} {
				var want []float32
				for _, threads := range []int{1, 2, 3, 7} {
					o := newOperands(tr.a, tr.b, s[0], s[1], s[2], 0, heap, kerneltest.Normals)
					atThreads(threads, func() { o.run(1.1, 0.9) })
					if want == nil {
						want = o.c
					}
					kerneltest.Same(t, fmt.Sprint(tr.name, s, " threads ", threads), o.c, want)
				}
			}
		}
	})
}

func atThreads(n int, f func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	f()
}

func TestSgemmNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, tr := range transposes {
			for _, s := range [][3]int{{5, 5, 5}, {120, 130, 140}, {6, 700, 800}, {64, 27, 1500}, {64, 27, 10240}} {
				o := newOperands(tr.a, tr.b, s[0], s[1], s[2], 0, heap, kerneltest.Normals)
				// AllocsPerRun runs on one thread; the pool is of no use there.
				if got := testing.AllocsPerRun(5, func() { o.run(1, 0) }); got != 0 {
					t.Errorf("%s %v: %v allocations", tr.name, s, got)
				}
			}
		}
		o := newOperands(NoTrans, NoTrans, 120, 130, 140, 0, heap, kerneltest.Normals)
		// A few buffers more are made when workers first happen to meet.
		const calls = 200
		if got := allocations(calls, func() { o.run(1, 0) }); got >= calls {
			t.Errorf("%d allocations in %d calls on all threads", got, calls)
		}
	})
}

// allocations counts what n calls of f allocate, on all threads, after some to
// warm up. The run time system's own few are counted, too.
func allocations(n int, f func()) uint64 {
	for range n {
		f()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		f()
	}
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

func TestSgemmPanics(t *testing.T) {
	x := make([]float32, 100)
	for name, f := range map[string]func(){
		"negative m": func() { Sgemm(NoTrans, NoTrans, -1, 2, 2, 1, x, 2, x, 2, 0, x, 2) },
		"negative n": func() { Sgemm(NoTrans, NoTrans, 2, -1, 2, 1, x, 2, x, 2, 0, x, 2) },
		"negative k": func() { Sgemm(NoTrans, NoTrans, 2, 2, -1, 1, x, 2, x, 2, 0, x, 2) },
		"lda":        func() { Sgemm(NoTrans, NoTrans, 2, 2, 3, 1, x, 2, x, 2, 0, x, 2) },
		"ldb":        func() { Sgemm(NoTrans, Trans, 2, 2, 3, 1, x, 3, x, 2, 0, x, 2) },
		"ldc":        func() { Sgemm(NoTrans, NoTrans, 2, 3, 2, 1, x, 2, x, 3, 0, x, 2) },
		"short a":    func() { Sgemm(Trans, NoTrans, 4, 2, 3, 1, x[:11], 4, x, 2, 0, x, 2) },
		"short b":    func() { Sgemm(NoTrans, NoTrans, 2, 4, 3, 1, x, 3, x[:11], 4, 0, x, 4) },
		"short c":    func() { Sgemm(NoTrans, NoTrans, 3, 4, 1, 1, x, 1, x, 4, 0, x[:11], 4) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "gemm: ") {
					t.Errorf("recovered %v", s)
				}
			}()
			f()
			t.Error("did not panic")
		})
	}
	// A and B are not looked at if they do not matter.
	Sgemm(NoTrans, NoTrans, 2, 2, 2, 0, nil, 2, nil, 2, 0, x, 2)
	Sgemm(NoTrans, NoTrans, 0, 2, 2, 1, nil, 2, nil, 2, 0, nil, 2)
}

// BenchmarkSgemm measures square products, some of few columns, and those of
// VGG-16's convolutions of one image, in the transposition that their direction
// has.
func BenchmarkSgemm(b *testing.B) {
	shapes := bench.Squares()
	for _, n := range []int{9, 16, 24, 27, 32} {
		shapes = append(shapes, bench.GEMM{Name: fmt.Sprintf("columns %d", n), M: 16384, N: n, K: 1000})
	}
	for _, c := range bench.Convs(1) {
		for _, d := range bench.Directions {
			shapes = append(shapes, c.GEMM(d))
		}
	}
	kerneltest.EachBench(b, func(b *testing.B) {
		for _, s := range shapes {
			for threads := 1; threads <= min(2, runtime.NumCPU()); threads++ {
				name := strings.ReplaceAll(s.Name, " ", "_")
				b.Run(fmt.Sprintf("shape=%s/op=%s/threads=%d", name, s.Transposition(), threads), func(b *testing.B) {
					o := newOperands(Transpose(s.TransA), Transpose(s.TransB), s.M, s.N, s.K, 0, heap, kerneltest.Integers)
					atThreads(threads, func() {
						for b.Loop() {
							o.run(1, 0)
						}
					})
					kerneltest.ReportFlops(b, s.Flops(), threads)
				})
			}
		}
	})
}
