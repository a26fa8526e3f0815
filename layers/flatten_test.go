package layers

import (
	"testing"

	"crema/tensor"
)

func TestFlatten(t *testing.T) {
	for _, c := range []struct {
		param string
		want  []int
	}{
		{``, shape(2, 60)},
		{`flatten_param { axis: 2 }`, shape(2, 3, 20)},
		{`flatten_param { axis: 0 end_axis: -2 }`, shape(24, 5)},
		{`flatten_param { axis: 1 end_axis: 2 }`, shape(2, 12, 5)},
		{`flatten_param { axis: -2 }`, shape(2, 3, 20)},
		{`flatten_param { axis: 3 }`, shape(2, 3, 4, 5)},
		{`flatten_param { axis: 0 }`, shape(120)},
	} {
		x := randomBlob(1, 2, 3, 4, 5)
		l, top := newLayer(t, testContext(train), `type: "Flatten" `+c.param, blobs(x), 1)
		wantShape(t, c.param, top[0], c.want...)
		forward(t, l, blobs(x), top)
		equal(t, c.param, top[0].Data(), x.Data()...)
		copy(top[0].Diff(), randomBlob(2, 120).Data())
		backward(t, l, blobs(x), top)
		equal(t, c.param+" gradient", x.Diff(), top[0].Diff()...)
		if !top[0].SharesData(x) {
			t.Errorf("%s: the top has its own copy of the values", c.param)
		}
	}
}

func TestFlattenGradient(t *testing.T) {
	checkGradient(t, gradCheck{}, `type: "Flatten"`, blobs(randomBlob(1, 2, 3, 2)), 1)
}

func TestFlattenErrors(t *testing.T) {
	x := blobs(tensor.New(2, 3))
	wantError(t, train, `type: "Flatten" flatten_param { axis: 2 }`, x, 1, "axis 2 out of range")
	wantError(t, train, `type: "Flatten" flatten_param { end_axis: 2 }`, x, 1, "end_axis")
	wantError(t, train, `type: "Flatten" flatten_param { axis: 1 end_axis: 0 }`, x, 1, "comes before")
	l, _ := newLayer(t, testContext(train), `type: "Flatten"`, x, 1)
	if err := l.Reshape(x, x); err == nil {
		t.Error("in-place computation was accepted")
	}
}
