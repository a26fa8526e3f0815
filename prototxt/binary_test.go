package prototxt

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"crema/prototxt/caffepb"
)

// someWeights returns a net with two layers of weights.
func someWeights() *caffepb.NetParameter {
	blob := func(n int) *caffepb.BlobProto {
		b := &caffepb.BlobProto{Shape: &caffepb.BlobShape{Dim: []int64{int64(n)}}}
		for i := range n {
			b.Data = append(b.Data, float32(i)/3)
		}
		return b
	}
	return &caffepb.NetParameter{
		Name: proto.String("n"),
		Layer: []*caffepb.LayerParameter{
			{Name: proto.String("a"), Type: proto.String("InnerProduct"), Blobs: []*caffepb.BlobProto{blob(100), blob(3)}},
			{Name: proto.String("b"), Type: proto.String("InnerProduct"), Blobs: []*caffepb.BlobProto{blob(7)}},
		},
	}
}

// TestWriteBinary: WriteBinary's pieces are the bytes of proto.Marshal.
func TestWriteBinary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.bin")
	check := func(t interface{ Fatalf(string, ...any) }, m proto.Message) {
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if err := WriteBinary(path, m); err != nil {
			t.Fatalf("%v", err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got\n%x\nwant\n%x\nof\n%v", got, want, m)
		}
		if len(got) == 0 {
			return
		}
		back := m.ProtoReflect().New().Interface()
		if err := ReadBinary(path, back); err != nil {
			t.Fatalf("%v", err)
		}
		if !proto.Equal(m, back) {
			t.Fatalf("read back as %v", back)
		}
	}
	check(t, someWeights())
	unknown := &caffepb.SolverState{Iter: proto.Int32(3)}
	unknown.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 2000, protowire.VarintType), 5))
	check(t, unknown)
	rapid.Check(t, func(t *rapid.T) {
		for _, m := range []proto.Message{&caffepb.NetParameter{}, &caffepb.SolverState{}, &caffepb.BlobProto{}, &caffepb.Datum{}} {
			drawMessage(t, m.ProtoReflect(), 2)
			check(t, m)
		}
	})
}

func TestWriteBinaryErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "none", "x.bin")
	if err := WriteBinary(path, someWeights()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("no folder: %v", err)
	}
	path = filepath.Join(dir, "x.bin")
	np := &caffepb.NetParameter{Layer: []*caffepb.LayerParameter{{ClipParam: &caffepb.ClipParameter{}}}}
	if err := WriteBinary(path, np); err == nil || !strings.Contains(err.Error(), "min") {
		t.Errorf("missing required field: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was left")
	}
}

func TestReadBinaryErrors(t *testing.T) {
	good, err := proto.Marshal(someWeights())
	if err != nil {
		t.Fatal(err)
	}
	state, err := proto.Marshal(&caffepb.SolverState{Iter: proto.Int32(3), LearnedNet: proto.String("net_iter_3.caffemodel")})
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(good)
	damaged[7] = 0x0f                                         // the first tag inside the first layer
	noMax := []byte{0xa2, 6, 8, 0xa2, 9, 5, 0x0d, 0, 0, 0, 0} // layer { clip_param { min: 0 } }
	for _, c := range []struct {
		name string
		b    []byte
		is   error
		want string
	}{
		{"empty", nil, ErrTruncated, "it is empty"},
		{"cut", good[:len(good)-1], ErrTruncated, "it ends at byte"},
		{"cut in the first layer", good[:100], ErrTruncated, "it ends at byte 100 inside the field that begins at byte 3"},
		{"text", []byte("name: \"LeNet\"\nlayer {\n"), ErrFormat, "this is a net (prototxt), not a net with trained weights (.caffemodel): it describes a net"},
		{"hdf5", []byte("\x89HDF\r\n\x1a\n\x00\x00"), ErrFormat, "HDF5"},
		{"lfs", []byte("version https://git-lfs.github.com/spec/v1\noid"), ErrFormat, "Git LFS pointer"},
		{"noise", []byte{0x0f, 1, 2, 3, 0}, ErrFormat, "byte 0 cannot begin a field"},
		{"damaged", damaged, ErrFormat, "damaged"},
		{"other message", state, ErrFormat, "this is a solver's state (.solverstate), not a net with trained weights (.caffemodel): resume from it with --snapshot"},
		{"required", noMax, ErrFormat, "max"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.caffemodel")
			if err := os.WriteFile(path, c.b, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := ReadWeights(path)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v …%s", err, c.is, c.want)
			}
		})
	}
	if _, err := ReadWeights("none/x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestReadWeightsV1 reads weights in the old form.
func TestReadWeightsV1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v1.caffemodel")
	blob := someWeights().Layer[0].Blobs[0]
	v1 := &caffepb.NetParameter{Input: []string{"data"}, Layers: []*caffepb.V1LayerParameter{{
		Name: proto.String("ip"), Type: caffepb.V1LayerParameter_INNER_PRODUCT.Enum(), Blobs: []*caffepb.BlobProto{blob}, BlobsLr: []float32{1, 2},
	}}}
	if err := WriteBinary(path, v1); err != nil {
		t.Fatal(err)
	}
	np, err := ReadWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(np.Layer) != 1 || np.Layer[0].GetType() != "InnerProduct" || !proto.Equal(np.Layer[0].Blobs[0], blob) || np.Layer[0].Param[1].GetLrMult() != 2 {
		t.Errorf("got %v", np)
	}
}

// TestGoldenBinary: files written by Caffe are read, and written again they
// are the same.
func TestGoldenBinary(t *testing.T) {
	rewrite := filepath.Join(t.TempDir(), "x")
	check := func(root, ext string, m proto.Message) {
		eachFile(t, root, ext, func(path string) {
			if err := ReadBinary(path, m); err != nil {
				t.Error(err)
				return
			}
			if err := WriteBinary(rewrite, m); err != nil {
				t.Error(err)
				return
			}
			a, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(rewrite)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a, b) {
				t.Errorf("%s: %d bytes became %d others", path, len(a), len(b))
			}
		})
	}
	runs := filepath.Join(golden, "runs", "solver")
	check(runs, ".caffemodel", &caffepb.NetParameter{})
	check(runs, ".solverstate", &caffepb.SolverState{})
	check(filepath.Join(golden, "runs"), ".binaryproto", &caffepb.BlobProto{})
}

func TestSharedWeights(t *testing.T) {
	dir := sharedDir(t)
	for _, file := range []string{"zoo/lenet_v1/lenet_iter_10000.caffemodel", "zoo/squeezenet/squeezenet.caffemodel"} {
		np, err := ReadWeights(filepath.Join(dir, file))
		if err != nil {
			t.Error(err)
			continue
		}
		blobs := 0
		for _, l := range np.Layer {
			blobs += len(l.Blobs)
		}
		if blobs == 0 || len(np.Layers) != 0 || len(np.Input) != 0 {
			t.Errorf("%s: %d layers, %d blobs, %d old layers", file, len(np.Layer), blobs, len(np.Layers))
		}
	}
}

func TestWarnSize(t *testing.T) {
	if w := WarnSize("m", math.MaxInt32); w != "" {
		t.Error(w)
	}
	if w := WarnSize("m.caffemodel", math.MaxInt32+1); !strings.Contains(w, "m.caffemodel has 2.0 GiB") {
		t.Error(w)
	}
}
