package layers

import (
	"testing"

	"crema/tensor"
)

func TestInput(t *testing.T) {
	_, top := newLayer(t, testContext(train), `type: "Input" input_param { shape { dim: 2 dim: 3 } }`, nil, 2)
	wantShape(t, "top 0", top[0], 2, 3)
	wantShape(t, "top 1", top[1], 2, 3)
	_, top = newLayer(t, testContext(train), `type: "Input" input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } }`, nil, 2)
	wantShape(t, "top 0", top[0], 2, 3)
	wantShape(t, "top 1", top[1], 4)
	// Without a shape the program's own stays, through passes too.
	l, top := newLayer(t, testContext(train), `type: "Input"`, nil, 1)
	top[0].Reshape(5, 6)
	top[0].Data()[7] = 3
	if err := l.Reshape(nil, top); err != nil {
		t.Fatal(err)
	}
	forward(t, l, nil, top)
	wantShape(t, "top", top[0], 5, 6)
	if top[0].Data()[7] != 3 {
		t.Error("Forward changed the value")
	}
}

func TestInputErrors(t *testing.T) {
	for text, want := range map[string]string{
		`type: "Input" input_param { shape { dim: 2 } shape { dim: 3 } }`:         "3 tops, 2 shapes",
		`type: "Input" input_param { shape { dim: -1 } }`:                         "dim -1 is outside",
		`type: "Input" input_param { shape { dim: 65536 dim: 65536 } }`:           "more than",
		`type: "Input" input_param { shape { dim: [` + manyOnes(33) + `] } }`:     "33 axes",
		`type: "Input" input_param { shape { dim: 9223372036854775807 dim: 2 } }`: "is outside",
	} {
		wantError(t, train, text, nil, 3, want)
	}
	wantError(t, train, `type: "Input"`, []*tensor.Blob{tensor.New(1)}, 1, "exactly 0 bottom")
	wantError(t, train, `type: "Input"`, nil, 0, "at least 1 top")
}

func manyOnes(n int) string {
	s := "1"
	for range n - 1 {
		s += ",1"
	}
	return s
}
