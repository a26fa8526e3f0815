package layers

import "testing"

func TestSilence(t *testing.T) {
	a, b := randomBlob(1, 2, 3), randomBlob(2, 4)
	l, top := newLayer(t, testContext(train), `type: "Silence"`, blobs(a, b), 0)
	forward(t, l, blobs(a, b), top)
	for i := range a.Diff() {
		a.Diff()[i] = 1
	}
	b.Diff()[0] = 5
	if err := l.Backward(top, []bool{true, false}, blobs(a, b)); err != nil {
		t.Fatal(err)
	}
	equal(t, "gradient", a.Diff(), 0, 0, 0, 0, 0, 0)
	equal(t, "gradient that was not asked for", b.Diff(), 5, 0, 0, 0)
	wantError(t, train, `type: "Silence"`, nil, 0, "at least 1 bottom")
	wantError(t, train, `type: "Silence"`, blobs(a), 1, "exactly 0 top")
}
