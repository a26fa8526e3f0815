package layers

import (
	"fmt"
	"testing"

	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/encoding/prototext"
)

// BenchmarkLayers measures layers that work channel by channel, or element by
// element, on the activations of a 3×3 convolution of ResNet-50.
func BenchmarkLayers(b *testing.B) {
	for _, text := range []string{
		`type: "BatchNorm"`,
		`type: "Scale" scale_param { bias_term: true }`,
		`type: "PReLU"`,
		`type: "LRN"`,
		`type: "LRN" lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }`,
		`type: "Sigmoid"`,
		`type: "TanH"`,
		`type: "ELU"`,
	} {
		for _, layout := range []tensor.Layout{tensor.NCHW, tensor.Blocked} {
			p := &caffepb.LayerParameter{}
			if err := prototext.Unmarshal([]byte(text), p); err != nil {
				b.Fatal(err)
			}
			name := p.GetType()
			if p.GetLrnParam().GetNormRegion() == caffepb.LRNParameter_WITHIN_CHANNEL {
				name += "_within"
			}
			typ, err := Lookup(p.GetType())
			if err != nil {
				b.Fatal(err)
			}
			l, err := typ.New(p, testContext(train))
			if err != nil {
				b.Fatal(err)
			}
			x, y := randomBlob(1, 8, 64, 56, 56), tensor.New()
			bottom, top := []*tensor.Blob{x}, []*tensor.Blob{y}
			if err := l.Setup(bottom, top); err != nil {
				b.Fatal(err)
			}
			x.SetLayout(layout)
			y.Reshape(x.Shape()...)
			y.SetLayout(layout)
			if err := l.Reshape(bottom, top); err != nil {
				b.Fatal(err)
			}
			y.Diff()
			run := func(pass string, f func() error) {
				b.Run(fmt.Sprintf("type=%s/layout=%v/pass=%s", name, layout, pass), func(b *testing.B) {
					for b.Loop() {
						if err := f(); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(x.Count()), "ns/elem")
				})
			}
			run("forward", func() error { return l.Forward(bottom, top) })
			run("backward", func() error { return l.Backward(top, []bool{true}, bottom) })
		}
	}
}
