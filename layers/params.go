package layers

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/internal/rng"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

const (
	// elemGrain is the least number of elements for which an elementwise loop
	// is worth another goroutine.
	elemGrain = 1 << 14
	// expRun is how many exponentials, and the like, are computed at a time in
	// memory on the stack, where they cannot go to where the result will be.
	expRun = 256
	// maxAxes is the most dimensions a blob may have (Caffe's kMaxBlobAxes).
	maxAxes = 32
)

// grainFor returns how many items of the given size make a goroutine
// worthwhile.
func grainFor(itemSize int) int { return max(1, elemGrain/max(itemSize, 1)) }

// elemTasks is the number of tasks that an elementwise loop over n elements is
// cut into, elemRange the elements of one of them. Loops that must not allocate
// use them with par.Run.
func elemTasks(n int) int { return (n + elemGrain - 1) / elemGrain }

func elemRange(n, task int) (lo, hi int) { return task * elemGrain, min((task+1)*elemGrain, n) }

// reshape is b.Reshape for shapes that a user's file decides.
func reshape(b *tensor.Blob, shape ...int) error {
	if len(shape) > maxAxes {
		return fmt.Errorf("a blob of %d axes is more than the limit of %d", len(shape), maxAxes)
	}
	if err := tensor.CheckShape(shape); err != nil {
		return err
	}
	if err := b.Layout().Check(shape); err != nil {
		return err
	}
	b.Reshape(shape...)
	return nil
}

// shapeOf converts the shape message of a prototxt.
func shapeOf(s *caffepb.BlobShape) ([]int, error) {
	dims := s.GetDim()
	shape := make([]int, len(dims))
	for i, d := range dims {
		if d < 0 || d > tensor.MaxCount {
			return nil, fmt.Errorf("shape: dim %d is outside 0 to %d", d, tensor.MaxCount)
		}
		shape[i] = int(d)
	}
	return shape, nil
}

// refuseInPlace reports a top that is also a bottom, for layers that cannot
// overwrite what they read.
func refuseInPlace(bottom, top []*tensor.Blob) error {
	for _, t := range top {
		if slices.Contains(bottom, t) {
			return errors.New("cannot compute in place: a top must not be one of its bottoms")
		}
	}
	return nil
}

// refuseGradient is the Backward of layers that have none.
func refuseGradient(propagateDown []bool) error {
	if slices.Contains(propagateDown, true) {
		return errors.New("has no gradient")
	}
	return nil
}

// positive checks a size that a prototxt gives as uint32.
func positive(field string, v uint32) (int, error) {
	if v == 0 || v > math.MaxInt32 {
		return 0, fmt.Errorf("%s must be between 1 and %d, not %d", field, math.MaxInt32, v)
	}
	return int(v), nil
}

// warnUnused logs a warning for every *_param message of the layer that its
// type does not read. Caffe ignores them in silence, so files in the wild may
// have one: that is no reason to refuse the net, but the user should know.
func (b *base) warnUnused(used ...protoreflect.Name) {
	// Fields of LayerParameter below 100 are common to all types.
	const firstTypeField = 100
	b.p.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if fd.Number() >= firstTypeField && !slices.Contains(used, fd.Name()) {
			b.ctx.Log.Warn(fmt.Sprintf("Layer %s of type %s does not use %s: ignored", b.p.GetName(), b.p.GetType(), fd.Name()))
		}
		return true
	})
}

// A paramSpec describes a parameter blob that Setup creates.
type paramSpec struct {
	what   string // for messages: "weight", "bias"
	shape  []int
	filler *caffepb.FillerParameter
}

// makeParams creates the parameter blobs: with the values that the
// LayerParameter carries in its blobs field if it has any (a net definition
// that is itself a trained model), else filled, each from its own random
// stream; with Context.NoFill they are only shaped.
func (b *base) makeParams(specs ...paramSpec) error {
	given := b.p.GetBlobs()
	if len(given) > 0 && len(given) != len(specs) {
		return fmt.Errorf("the definition holds %d parameter blobs, not %d", len(given), len(specs))
	}
	params := make([]*tensor.Blob, len(specs))
	for i, s := range specs {
		if err := tensor.CheckShape(s.shape); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
		params[i] = tensor.New(s.shape...)
		var err error
		switch {
		case b.ctx.NoFill:
			err = checkFiller(s.filler)
		case len(given) > 0:
			err = copyBlob(params[i], given[i])
		default:
			err = fill(params[i], s.filler, rng.Key(b.ctx.Seed, b.p.GetName(), uint64(i)))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	if len(given) > 0 && !b.ctx.NoFill {
		b.ctx.Log.Info("Skipping parameter initialization")
	}
	b.params = params
	return nil
}

// copyBlob sets dst to the stored values of src, which must have its shape.
func copyBlob(dst *tensor.Blob, src *caffepb.BlobProto) error {
	var shape []int
	if src.Shape != nil {
		s, err := shapeOf(src.Shape)
		if err != nil {
			return err
		}
		shape = s
	} else {
		// Files older than BlobShape are 4-D: leading ones are padding.
		shape = []int{int(src.GetNum()), int(src.GetChannels()), int(src.GetHeight()), int(src.GetWidth())}
		for len(shape) > dst.Axes() && shape[0] == 1 {
			shape = shape[1:]
		}
	}
	if !slices.Equal(shape, dst.Shape()) {
		return fmt.Errorf("stored shape is %s, expected %s", tensor.FormatShape(shape), tensor.FormatShape(dst.Shape()))
	}
	v := storedValues(src)
	if len(v) != dst.Count() {
		return fmt.Errorf("%d values are stored for a blob of shape %s", len(v), tensor.FormatShape(shape))
	}
	copy(dst.Data(), v)
	return nil
}

// storedValues returns the values of a stored blob, which may be doubles.
func storedValues(src *caffepb.BlobProto) []float32 {
	if len(src.DoubleData) == 0 {
		return src.Data
	}
	v := make([]float32, len(src.DoubleData))
	for i, x := range src.DoubleData {
		v[i] = float32(x)
	}
	return v
}
