package layers

import (
	"math"
	"testing"

	"crema/tensor"
)

const embedText = `type: "Embed" embed_param { input_dim: 4 num_output: 3 weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } `

func TestEmbed(t *testing.T) {
	x := blobOf(shape(2, 2), 3, 0.75, -0.5, 3)
	for _, bias := range []bool{true, false} {
		text := embedText + `bias_term: true }`
		if !bias {
			text = embedText + `bias_term: false }`
		}
		l, top := newLayer(t, testContext(train), text, blobs(x), 1)
		wantShape(t, "top", top[0], 2, 2, 3)
		if got, want := len(l.Params()), map[bool]int{true: 2, false: 1}[bias]; got != want {
			t.Fatalf("bias %v: %d parameters, want %d", bias, got, want)
		}
		wantShape(t, "weights", l.Params()[0], 4, 3)
		forward(t, l, blobs(x), top)
		w := l.Params()[0].Data()
		var want []float32
		for _, row := range []int{3, 0, 0, 3} {
			for i, v := range w[row*3 : row*3+3] {
				if bias {
					v += l.Params()[1].Data()[i]
				}
				want = append(want, v)
			}
		}
		equal(t, "top", top[0].Data(), want...)
		copy(top[0].Diff(), []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
		for i := range l.Params()[0].Diff() {
			l.Params()[0].Diff()[i] = 100
		}
		if err := l.Backward(top, []bool{false}, blobs(x)); err != nil {
			t.Fatal(err)
		}
		equal(t, "weight gradient", l.Params()[0].Diff(), 111, 113, 115, 100, 100, 100, 100, 100, 100, 111, 113, 115)
		if bias {
			equal(t, "bias gradient", l.Params()[1].Diff(), 22, 26, 30)
		}
		for i, p := range l.Params() {
			l.SetParamPropagateDown(i, false)
			clear(p.Diff())
		}
		if err := l.Backward(top, []bool{false}, blobs(x)); err != nil {
			t.Fatal(err)
		}
		for _, p := range l.Params() {
			equal(t, "gradient that was not asked for", p.Diff(), make([]float32, p.Count())...)
		}
	}
}

func TestEmbedGradient(t *testing.T) {
	x := blobOf(shape(5), 3, 0, 0, 1, 3)
	for _, bias := range []string{`}`, `bias_term: false }`} {
		checkGradient(t, gradCheck{skipBottom: []int{0}}, embedText+bias, blobs(x), 1)
	}
}

func TestEmbedPasses(t *testing.T) {
	x := tensor.New(500, 3)
	for i := range x.Data() {
		x.Data()[i] = float32(i * i % 77)
	}
	checkPasses(t, `type: "Embed" embed_param { input_dim: 77 num_output: 300 weight_filler { type: "xavier" } }`, blobs(x), 1, 0)
}

func TestEmbedErrors(t *testing.T) {
	x := blobs(tensor.New(2))
	wantError(t, train, `type: "Embed"`, x, 1, "num_output must be between 1")
	wantError(t, train, `type: "Embed" embed_param { num_output: 3 }`, x, 1, "input_dim must be between 1")
	wantError(t, train, `type: "Embed" embed_param { num_output: 65536 input_dim: 65536 }`, x, 1, "weight: shape 65536×65536 has more than")
	wantError(t, train, `type: "Embed" embed_param { num_output: 3 input_dim: 4 weight_filler { type: "none" } }`, x, 1, "weight")
	nan := float32(math.NaN())
	wantForwardError(t, embedText+`}`, blobs(blobOf(shape(2), 0, 4)), "input_dim is 4: index 4 at position 1 is outside 0 to 3")
	wantForwardError(t, embedText+`}`, blobs(blobOf(shape(2), -1, 0)), "index -1 at position 0 is outside")
	wantForwardError(t, embedText+`}`, blobs(blobOf(shape(2), 0, nan)), "index NaN at position 1")
	wantBackwardError(t, embedText+`}`, x, 1, 0, "cannot propagate to indices")
	l, _ := newLayer(t, testContext(train), embedText+`}`, x, 1)
	if err := l.Reshape(x, x); err == nil {
		t.Error("in-place computation was accepted")
	}
}
