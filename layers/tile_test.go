package layers

import (
	"testing"

	"crema/tensor"
)

func TestTile(t *testing.T) {
	x := blobOf(shape(2, 3), 1, 2, 3, 4, 5, 6)
	for _, c := range []struct {
		param    string
		shape    []int
		want, dx []float32
	}{
		{`tiles: 2`, shape(2, 6), []float32{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}, []float32{3, 5, 7, 15, 17, 19}},
		{`tiles: 2 axis: 0`, shape(4, 3), []float32{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}, []float32{6, 8, 10, 12, 14, 16}},
		{`tiles: 1 axis: -1`, shape(2, 3), []float32{1, 2, 3, 4, 5, 6}, []float32{0, 1, 2, 3, 4, 5}},
	} {
		l, top := newLayer(t, testContext(train), `type: "Tile" tile_param {`+c.param+`}`, blobs(x), 1)
		wantShape(t, c.param, top[0], c.shape...)
		forward(t, l, blobs(x), top)
		equal(t, c.param, top[0].Data(), c.want...)
		for i := range top[0].Diff() {
			top[0].Diff()[i] = float32(i)
		}
		backward(t, l, blobs(x), top)
		equal(t, c.param+" gradient", x.Diff(), c.dx...)
	}
}

func TestTileGradient(t *testing.T) {
	for _, param := range []string{`tiles: 3`, `tiles: 2 axis: 0`, `tiles: 2 axis: -1`} {
		checkGradient(t, gradCheck{}, `type: "Tile" tile_param {`+param+`}`, blobs(randomBlob(1, 2, 3, 2)), 1)
	}
}

func TestTilePasses(t *testing.T) {
	checkPasses(t, `type: "Tile" tile_param { tiles: 3 }`, blobs(randomBlob(1, 3, 16, 40, 37)), 1)
	checkPasses(t, `type: "Tile" tile_param { tiles: 50 axis: 2 }`, blobs(randomBlob(1, 30, 40, 1)), 1)
}

func TestTileErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3))
	wantError(t, train, `type: "Tile"`, x, 1, "tiles, the number of copies, is required")
	wantError(t, train, `type: "Tile" tile_param { axis: 1 }`, x, 1, "is required")
	wantError(t, train, `type: "Tile" tile_param { tiles: 0 }`, x, 1, "at least 1, not 0")
	wantError(t, train, `type: "Tile" tile_param { tiles: -1 }`, x, 1, "at least 1, not -1")
	wantError(t, train, `type: "Tile" tile_param { tiles: 2 axis: 2 }`, x, 1, "axis 2 out of range")
	wantError(t, train, `type: "Tile" tile_param { tiles: 2147483647 }`, x, 1, "more than 2147483647 elements")
	l, _ := newLayer(t, testContext(train), `type: "Tile" tile_param { tiles: 1 }`, x, 1)
	if err := l.Reshape(x, x); err == nil {
		t.Error("in-place computation was accepted")
	}
	// Nothing of nothing.
	l, top := newLayer(t, testContext(train), `type: "Tile" tile_param { tiles: 2 }`, blobs(tensor.New(2, 0)), 1)
	forward(t, l, blobs(tensor.New(2, 0)), top)
}
