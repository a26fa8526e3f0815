package layers

import (
	"slices"
	"testing"

	"crema/tensor"
)

// TestCrop compares with indexing.
func TestCrop(t *testing.T) {
	for _, c := range []struct {
		param     string
		like      []int
		shape, at []int
	}{
		{``, shape(9, 9, 3, 2), shape(2, 4, 3, 2), shape(0, 0, 0, 0)},
		{`offset: 1`, shape(9, 9, 3, 2), shape(2, 4, 3, 2), shape(0, 0, 1, 1)},
		{`offset: 2 offset: 3`, shape(9, 9, 3, 2), shape(2, 4, 3, 2), shape(0, 0, 2, 3)},
		{`axis: 1 offset: 1 offset: 0 offset: 2`, shape(9, 3, 5, 4), shape(2, 3, 5, 4), shape(0, 1, 0, 2)},
		{`axis: 1 offset: 1 offset: 0 offset: 0`, shape(9, 2, 5, 6), shape(2, 2, 5, 6), shape(0, 1, 0, 0)},
		{`axis: 0 offset: 1 offset: 2 offset: 0 offset: 0`, shape(1, 1, 4, 6), shape(1, 1, 4, 6), shape(1, 2, 0, 0)},
		{`axis: -1 offset: 5`, shape(1, 1, 1, 1), shape(2, 4, 5, 1), shape(0, 0, 0, 5)},
		{``, shape(2, 4, 5, 6), shape(2, 4, 5, 6), shape(0, 0, 0, 0)},
		{``, shape(2, 4, 0, 6), shape(2, 4, 0, 6), shape(0, 0, 0, 0)},
	} {
		x, like := randomBlob(1, 2, 4, 5, 6), tensor.New(c.like...)
		bottom := blobs(x, like)
		l, top := newLayer(t, testContext(train), `type: "Crop" crop_param {`+c.param+`}`, bottom, 1)
		y := top[0]
		wantShape(t, c.param, y, c.shape...)
		forward(t, l, bottom, top)
		copy(y.Diff(), randomBlob(2, y.Count()).Data())
		for i := range x.Diff() {
			x.Diff()[i] = 9
		}
		like.Diff()
		copy(like.Diff(), slices.Repeat([]float32{9}, like.Count()))
		backward(t, l, bottom, top)
		dx := make([]float32, x.Count())
		i := 0
		for n := range c.shape[0] {
			for ch := range c.shape[1] {
				for h := range c.shape[2] {
					for w := range c.shape[3] {
						at := ((c.at[0]+n)*4+c.at[1]+ch)*30 + (c.at[2]+h)*6 + c.at[3] + w
						if y.Data()[i] != x.Data()[at] {
							t.Fatalf("%s: element %d,%d,%d,%d is %v, want %v", c.param, n, ch, h, w, y.Data()[i], x.Data()[at])
						}
						dx[at] = y.Diff()[i]
						i++
					}
				}
			}
		}
		equal(t, c.param+" gradient", x.Diff(), dx...)
		equal(t, c.param+" gradient of the second bottom", like.Diff(), make([]float32, like.Count())...)
	}
}

func TestCropGradient(t *testing.T) {
	checkGradient(t, gradCheck{}, `type: "Crop" crop_param { axis: 1 offset: 1 }`, blobs(randomBlob(1, 2, 3, 4), randomBlob(2, 1, 2, 2)), 1)
}

func TestCropPasses(t *testing.T) {
	checkPasses(t, `type: "Crop" crop_param { offset: 3 }`, blobs(randomBlob(1, 3, 16, 40, 37), tensor.New(1, 1, 30, 33)), 1)
	checkPasses(t, `type: "Crop"`, blobs(randomBlob(1, 3, 16, 40, 37), tensor.New(1, 1, 40, 37)), 1)
}

func TestCropBlocked(t *testing.T) {
	x := randomBlob(1, 2, 48, 6, 7)
	checkBlocked(t, `type: "Crop" crop_param { offset: 2 }`, blobs(x, tensor.New(2, 16, 3, 5)), 1)
	checkBlocked(t, `type: "Crop" crop_param { axis: 1 offset: 16 offset: 1 offset: 0 }`, blobs(x, tensor.New(2, 16, 3, 5)), 1)
	checkBlocked(t, `type: "Crop" crop_param { axis: 0 }`, blobs(x, tensor.New(1, 32, 6, 7)), 1)
	for param, want := range map[string]Fit{
		`axis: 1 offset: 1`:  Unfit,
		`axis: -3 offset: 1`: Unfit,
		`axis: 0 offset: 1 offset: 8 offset: 0 offset: 0`: Unfit,
		`axis: 0 offset: 1 offset: 0 offset: 8 offset: 8`: Fits,
		`axis: -4 offset: 16`:                             Fits,
		`axis: -2 offset: 1`:                              Fits,
	} {
		l, _ := newLayer(t, testContext(train), `type: "Crop" crop_param {`+param+`}`, blobs(tensor.New(32, 48, 32, 32), tensor.New(1, 16, 1, 1)), 1)
		if got := l.(LayoutTaker).Fit(tensor.Blocked, tensor.Blocked); got != want {
			t.Errorf("%s: fit %v, want %v", param, got, want)
		}
	}
}

func TestCropErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3, 6, 7), randomBlob(1, 2, 3, 6, 5))
	for _, c := range []struct{ param, want string }{
		{`axis: 4`, "axis 4 out of range"},
		{`axis: -5`, "axis -5 out of range"},
		{`offset: 1`, "axis 2: a size of 6 from offset 1 on does not fit into the 6"},
		{`offset: 0 offset: 3`, "axis 3: a size of 5 from offset 3"},
		{`offset: 0 offset: 4294967295`, "axis 3: a size of 5 from offset 4294967295"},
		{`offset: 0 offset: 0 offset: 0`, "3 offsets for 2 axes (2 to 3)"},
	} {
		wantError(t, train, `type: "Crop" crop_param {`+c.param+`}`, x, 1, c.want)
	}
	wantError(t, train, `type: "Crop"`, blobs(x[0], tensor.New(2, 3, 6)), 1, "must have 4 axes")
	l, _ := newLayer(t, testContext(train), `type: "Crop"`, x, 1)
	if err := l.Reshape(x, x[:1]); err == nil {
		t.Error("in-place computation was accepted")
	}
}
