package layers

import (
	"strings"
	"testing"

	"crema/tensor"
)

func TestParameter(t *testing.T) {
	l, top := newLayer(t, testContext(train), `type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }`, nil, 1)
	p := l.Params()
	if len(p) != 1 {
		t.Fatalf("%d parameters", len(p))
	}
	wantShape(t, "parameter", p[0], 2, 3)
	wantShape(t, "top", top[0], 2, 3)
	equal(t, "at the beginning", top[0].Data(), 0, 0, 0, 0, 0, 0)
	// The net may make it share another's.
	other := randomBlob(1, 2, 3)
	p[0].ShareData(other)
	p[0].ShareDiff(other)
	forward(t, l, nil, top)
	equal(t, "top", top[0].Data(), other.Data()...)
	copy(top[0].Diff(), []float32{1, 2, 3, 4, 5, 6})
	backward(t, l, nil, top)
	equal(t, "gradient", other.Diff(), 1, 2, 3, 4, 5, 6)

	l, top = newLayer(t, testContext(train), `type: "Parameter" parameter_param { shape { dim: 2 } } blobs { shape { dim: 2 } data: [3, 4] }`, nil, 1)
	forward(t, l, nil, top)
	equal(t, "stored", top[0].Data(), 3, 4)
	_, top = newLayer(t, testContext(train), `type: "Parameter"`, nil, 1)
	wantShape(t, "without a shape", top[0])
}

func TestParameterPasses(t *testing.T) {
	checkPasses(t, `type: "Parameter" parameter_param { shape { dim: 2 } }`, nil, 1)
}

func TestParameterErrors(t *testing.T) {
	wantError(t, train, `type: "Parameter" parameter_param { shape { dim: -1 } }`, nil, 1, "parameter_param: shape: dim -1 is outside")
	wantError(t, train, `type: "Parameter" parameter_param { shape { dim: 65536 dim: 65536 } }`, nil, 1, "more than 2147483647 elements")
	wantError(t, train, `type: "Parameter" parameter_param { shape {`+strings.Repeat(" dim: 1", 33)+`} }`, nil, 1, "33 axes")
	wantError(t, train, `type: "Parameter" parameter_param { shape { dim: 2 } }`, blobs(tensor.New(1)), 1, "exactly 0 bottom")
}
