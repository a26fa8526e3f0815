package layers

import "testing"

func TestDummyDataConstant(t *testing.T) {
	l, top := newLayer(t, testContext(train), `type: "DummyData" dummy_data_param { shape { dim: 2 dim: 2 } }`, nil, 2)
	wantShape(t, "top 0", top[0], 2, 2)
	wantShape(t, "top 1", top[1], 2, 2)
	forward(t, l, nil, top)
	equal(t, "no filler", top[0].Data(), 0, 0, 0, 0)

	l, top = newLayer(t, testContext(train), `type: "DummyData" dummy_data_param { num: 2 num: 3 channels: 1 height: 1 width: 2 width: 1 data_filler { value: 4 } data_filler { value: -1 } }`, nil, 2)
	wantShape(t, "top 0", top[0], 2, 1, 1, 2)
	wantShape(t, "top 1", top[1], 3, 1, 1, 1)
	forward(t, l, nil, top)
	equal(t, "top 0", top[0].Data(), 4, 4, 4, 4)
	equal(t, "top 1", top[1].Data(), -1, -1, -1)
	// A constant top is filled once: what the program writes stays.
	top[0].Data()[1] = 9
	forward(t, l, nil, top)
	equal(t, "top 0 later", top[0].Data(), 4, 9, 4, 4)
}

func TestDummyDataRandom(t *testing.T) {
	const text = `type: "DummyData" dummy_data_param {
		shape { dim: 8 } data_filler { type: "uniform" min: 1 max: 2 } data_filler { type: "uniform" min: 1 max: 2 } data_filler { value: 3 } }`
	l, top := newLayer(t, testContext(train), text, nil, 3)
	var passes [][]float32
	for range 3 {
		forward(t, l, nil, top)
		a, b := clone(top[0].Data()), clone(top[1].Data())
		for i, v := range a {
			if v < 1 || v > 2 || v == b[i] {
				t.Fatalf("values %v and %v, want distinct ones of [1, 2]", a, b)
			}
		}
		for _, p := range passes {
			if p[0] == a[0] {
				t.Error("two passes gave the same values")
			}
		}
		passes = append(passes, a)
	}
	equal(t, "constant top", top[2].Data(), 3, 3, 3, 3, 3, 3, 3, 3)

	// Another run of the same seed continues from the cursor.
	s := l.(Stateful)
	if c := s.Cursor(); c.GetForwards() != 3 || c.GetName() != "l" {
		t.Errorf("cursor %v after three passes", c)
	}
	c := s.Cursor()
	*c.Forwards = 1
	l2, top2 := newLayer(t, testContext(train), text, nil, 3)
	if err := l2.(Stateful).SetCursor(c); err != nil {
		t.Fatal(err)
	}
	forward(t, l2, nil, top2)
	equal(t, "second pass", top2[0].Data(), passes[1]...)

	// Another seed gives other values.
	ctx := testContext(train)
	ctx.Seed++
	l3, top3 := newLayer(t, ctx, text, nil, 3)
	forward(t, l3, nil, top3)
	if top3[0].Data()[0] == passes[0][0] {
		t.Error("another seed gave the same values")
	}
}

func TestDummyDataErrors(t *testing.T) {
	for text, want := range map[string]string{
		`type: "DummyData"`: "shape must be given once or once per top",
		`type: "DummyData" dummy_data_param { shape { dim: 1 } shape { dim: 1 } }`:                      "3 tops, 2 shapes",
		`type: "DummyData" dummy_data_param { shape { dim: 1 } data_filler {} data_filler {} }`:         "3 tops, 2 fillers",
		`type: "DummyData" dummy_data_param { shape { dim: 1 } num: 1 }`:                                "not both",
		`type: "DummyData" dummy_data_param { num: 1 channels: 1 height: 1 }`:                           "width must be given",
		`type: "DummyData" dummy_data_param { num: 1 num: 2 channels: 1 height: 1 width: 1 }`:           "num must be given",
		`type: "DummyData" dummy_data_param { shape { dim: 1 } data_filler { type: "magic" } }`:         "unknown filler",
		`type: "DummyData" dummy_data_param { shape { dim: 0 } }`:                                       "no elements",
		`type: "DummyData" dummy_data_param { shape { dim: 1 } data_filler { type: "msra" sparse: 1} }`: "sparse",
	} {
		wantError(t, train, text, nil, 3, want)
	}
}
