package layers

import (
	"testing"

	"crema/tensor"
)

func TestReshape(t *testing.T) {
	for _, c := range []struct {
		param string
		want  []int
	}{
		{`shape { dim: 0 dim: 3 dim: -1 }`, shape(2, 3, 20)},
		{`shape { dim: 60 dim: 2 }`, shape(60, 2)},
		{`shape { dim: -1 }`, shape(120)},
		{`shape { dim: 0 dim: 0 dim: 0 dim: 0 }`, shape(2, 3, 4, 5)},
		{`shape { dim: -1 dim: 0 dim: 10 dim: 1 }`, shape(4, 3, 10, 1)},
		{`shape { dim: 2 dim: -1 } axis: 1`, shape(2, 2, 30)},
		{`shape { dim: 3 dim: -1 } axis: 1 num_axes: 1`, shape(2, 3, 1, 4, 5)},
		{`shape { dim: 4 dim: 1 } axis: 2 num_axes: 1`, shape(2, 3, 4, 1, 5)},
		{`shape { dim: 1 dim: 1 } axis: 1 num_axes: 0`, shape(2, 1, 1, 3, 4, 5)},
		{`shape { dim: 1 } axis: -1`, shape(2, 3, 4, 5, 1)},
		{`shape { dim: 1 dim: -1 } axis: -2`, shape(2, 3, 4, 1, 5)},
		{`shape { dim: 1 } num_axes: 0`, shape(1, 2, 3, 4, 5)},
	} {
		x := randomBlob(1, 2, 3, 4, 5)
		_, top := newLayer(t, testContext(train), `type: "Reshape" reshape_param {`+c.param+`}`, blobs(x), 1)
		wantShape(t, c.param, top[0], c.want...)
	}
}

func TestReshapeShares(t *testing.T) {
	checkView(t, `type: "Reshape" reshape_param { shape { dim: -1 } }`)
}

// Without a shape the axes go, if there is one element.
func TestReshapeToScalar(t *testing.T) {
	for _, param := range []string{``, `reshape_param { axis: 0 }`} {
		_, top := newLayer(t, testContext(train), `type: "Reshape" `+param, blobs(randomBlob(1, 1, 1)), 1)
		wantShape(t, param, top[0])
	}
}

func TestReshapeGradient(t *testing.T) {
	checkGradient(t, gradCheck{}, `type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }`, blobs(randomBlob(1, 2, 3, 2)), 1)
}

func TestReshapePasses(t *testing.T) {
	checkPasses(t, `type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }`, blobs(randomBlob(1, 2, 3, 2)), 1)
}

func TestReshapeErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3, 4))
	for _, c := range []struct{ param, want string }{
		{``, "scalar has 1 elements, the bottom of shape 2×3×4 has 24"},
		{`axis: 4`, "axis 4 is outside -4 to 3"},
		{`axis: -5`, "axis -5 is outside -4 to 3"},
		{`num_axes: -2`, "num_axes must be at least 0"},
		{`axis: 1 num_axes: 3`, "has only 2"},
		{`axis: -1 num_axes: 1`, "has only 0"},
		{`axis: 2147483647`, "axis 2147483647 is outside"},
		{`num_axes: 2147483647`, "has only 3"},
		{`shape { dim: -2 }`, "dim -2 is outside -1"},
		{`shape { dim: 9223372036854775807 }`, "is outside -1 to"},
		{`shape { dim: -1 dim: 2 dim: -1 }`, "more than one dim is -1"},
		{`shape { dim: 24 dim: 1 dim: 1 dim: 0 }`, "there is no axis 3"},
		{`shape { dim: 0 } axis: -1`, "there is no axis 3"},
		{`shape { dim: 5 dim: 5 }`, "5×5 has 25 elements, the bottom of shape 2×3×4 has 24"},
		{`shape { dim: 5 dim: -1 }`, "the 24 elements of 2×3×4 are not a multiple of 5"},
		{`shape { dim: 2147483647 dim: 2147483647 dim: 2147483647 dim: 2147483647 }`, "more than 2147483647 elements"},
	} {
		wantError(t, train, `type: "Reshape" reshape_param {`+c.param+`}`, x, 1, c.want)
	}
	wantError(t, train, `type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }`, blobs(tensor.New(0, 3, 4)), 1, "cannot be found")
	l, _ := newLayer(t, testContext(train), `type: "Reshape" reshape_param { shape { dim: -1 } }`, x, 1)
	if err := l.Reshape(x, x); err == nil {
		t.Error("in-place computation was accepted")
	}
}
