package layers

import (
	"strings"
	"testing"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

// wantForwardError makes a layer and fails unless Forward fails with a message
// that has the given words in it.
func wantForwardError(t *testing.T, text string, bottom []*tensor.Blob, words string) {
	t.Helper()
	l, top := newLayer(t, testContext(train), text, bottom, 1)
	if err := l.Forward(bottom, top); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("layer %q: Forward: error %v, want one with %q", text, err, words)
	}
}

// wantBackwardError runs a layer and fails unless Backward to bottom i fails with
// a message that has the given words in it.
func wantBackwardError(t *testing.T, text string, bottom []*tensor.Blob, tops, i int, words string) {
	t.Helper()
	l, top := newLayer(t, testContext(train), text, bottom, tops)
	forward(t, l, bottom, top)
	down := make([]bool, len(bottom))
	down[i] = true
	if err := l.Backward(top, down, bottom); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("layer %q: Backward to bottom %d: error %v, want one with %q", text, i, err, words)
	}
}

func TestLossScale(t *testing.T) {
	yes, no := true, false
	full, odd := caffepb.LossParameter_FULL, caffepb.LossParameter_NormalizationMode(9)
	for _, c := range []struct {
		p    *caffepb.LossParameter
		want caffepb.LossParameter_NormalizationMode
	}{
		{nil, caffepb.LossParameter_NONE},
		{&caffepb.LossParameter{}, caffepb.LossParameter_NONE},
		{&caffepb.LossParameter{Normalize: &yes}, caffepb.LossParameter_VALID},
		{&caffepb.LossParameter{Normalize: &no}, caffepb.LossParameter_BATCH_SIZE},
		{&caffepb.LossParameter{Normalize: &no, Normalization: &full}, full},
	} {
		s, err := newLossScale(c.p, caffepb.LossParameter_NONE)
		if err != nil || s.mode != c.want {
			t.Errorf("%v: %v, %v, want %v", c.p, s.mode, err, c.want)
		}
	}
	if _, err := newLossScale(&caffepb.LossParameter{Normalization: &odd}, 0); err == nil {
		t.Error("an unknown normalization was accepted")
	}
	for mode, want := range map[caffepb.LossParameter_NormalizationMode]float32{
		caffepb.LossParameter_VALID: 60. / 3, caffepb.LossParameter_FULL: 60. / 12, caffepb.LossParameter_BATCH_SIZE: 60. / 4, caffepb.LossParameter_NONE: 60,
	} {
		s := lossScale{mode: mode}
		if got := s.normalize(60, 3, 12, 4); got != want {
			t.Errorf("%v: %v, want %v", mode, got, want)
		}
		if got := s.normalize(60, 0, 0, 0); got != 60 {
			t.Errorf("%v of nothing: %v, want 60", mode, got)
		}
	}
}
