package prototxt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"crema/prototxt/caffepb"
)

const golden = "../testdata/golden"

// parseNet parses text as a net.
func parseNet(text string) (*caffepb.NetParameter, error) {
	np := &caffepb.NetParameter{}
	return np, UnmarshalText("f", []byte(text), np)
}

// TestUnmarshalText holds what the C++ reader and printer of protobuf 3.21 made
// of each text.
func TestUnmarshalText(t *testing.T) {
	const scale = "layer {\n  transform_param {\n    scale: %s\n  }\n}\n"
	num := func(in, out string) [2]string {
		return [2]string{"layer{transform_param{scale:" + in + "}}", fmt.Sprintf(scale, out)}
	}
	str := func(in, out string) [2]string { return [2]string{"name:" + in, "name: " + out + "\n"} }
	for _, c := range [][2]string{
		{"", ""},
		{" \t\r\n\v\f# only a comment", ""},
		{"\xef\xbb\xbfname: 'bom'", "name: \"bom\"\n"},
		{"name: 'crlf'\r\n# c\r\nforce_backward: 1\r\n", "name: \"crlf\"\nforce_backward: true\n"},
		{"layer: { name: 'a' }", "layer {\n  name: \"a\"\n}\n"},
		{"layer <name: 'a';>, layer {};layer: <>", "layer {\n  name: \"a\"\n}\nlayer {\n}\nlayer {\n}\n"},
		{"layer{include{phase:TEST}include:<phase:0 stage:'x'>}", "layer {\n  include {\n    phase: TEST\n  }\n  include {\n    phase: TRAIN\n    stage: \"x\"\n  }\n}\n"},
		{"input_dim: [1, 0x10, 010] input_dim: 4 input_dim: []", "input_dim: 1\ninput_dim: 16\ninput_dim: 8\ninput_dim: 4\n"},
		{"layer: [{name:'a'}, <>]", "layer {\n  name: \"a\"\n}\nlayer {\n}\n"},
		{"input: ['a' \"b\", 'c']", "input: \"ab\"\ninput: \"c\"\n"},
		{"input_dim:-\n#x\n2147483648", "input_dim: -2147483648\n"},
		{"force_backward: True", "force_backward: true\n"},
		{"force_backward: t", "force_backward: true\n"},
		{"force_backward: f debug_info: False", "force_backward: false\ndebug_info: false\n"},
		{"force_backward: 0x1", "force_backward: true\n"},
		{"state{phase:0x1}", "state {\n  phase: TEST\n}\n"},
		num("1.f", "1"), num(".5F", "0.5"), num("1f", "1"), num("-0", "-0"), num("00.5"[1:], "0.5"),
		num("1e400", "inf"), num("-1e400", "-inf"), num("1e39", "inf"), num("1e-400", "0"),
		num("inf", "inf"), num("-Infinity", "-inf"), num("NaN", "nan"), num("-nan", "nan"), num("- 2", "-2"),
		num("0.00390625", "0.00390625"), num("0.0005", "0.0005"), num("1e-05", "1e-05"), num("0.1", "0.1"),
		num("16777217.0", "16777216"), num("123456789", "123456792"), num("1e10", "1e+10"), num("3.4028235e38", "3.40282347e+38"),
		num("-4.3777125e-40", "-4.37771245e-40"), num("1e-45", "1.40129846e-45"), num("100000", "100000"), num("1000000", "1e+06"),
		str(`'a' "b"`+"\n# c\n'c'", `"abc"`),
		str(`"\n\r\t\a\b\f\v\\\?\'\""`, `"\n\r\t\007\010\014\013\\?\'\""`),
		str(`"\x41\xe9\351\0\00\000\1a\x4g\400"`, `"A\351\351\000\000\000\001a\004g\000"`),
		str(`"\u00e9\U0001F600\ud83d\ude00"`, `"\303\251\360\237\230\200\360\237\230\200"`),
		str("'latin-1 \xe9'", `"latin-1 \351"`),
		str("'caf\u00e9 \x7f'", `"caf\303\251 \177"`),
	} {
		t.Run(c[0], func(t *testing.T) {
			np, err := parseNet(c[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := string(MarshalText(np)); got != c[1] {
				t.Errorf("got\n%s\nwant\n%s", got, c[1])
			}
		})
	}
}

func TestUnmarshalTextErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		// Syntax.
		{"layer {\n  name: 'a'\n", "f:3:1: the file ends inside the message that begins at line 1: \"}\" is missing"},
		{"layer { > ", "f:1:9: expected a field name, found \">\""},
		{"}", "f:1:1: expected a field name, found \"}\""},
		{"name 'a'", "f:1:6: expected \":\" after name, found the string \"a\""},
		{"name: ", "f:1:7: expected a value, found the end of the file"},
		{"name: -'a'", "f:1:8: expected a number after \"-\", found the string \"a\""},
		{"layer: 3", "f:1:8: expected \"{\" after layer, found \"3\""},
		{"name: 'a\n'", "f:1:7: this string is not closed on its line"},
		{"name: 'a", "f:1:7: this string is never closed"},
		{"name: '\\q'", "f:1:8: unknown escape \"\\\\q\" in a string; between folders write /, and a backslash itself as \\\\"},
		{"name: '\\xg'", "f:1:8: \\x must be followed by hexadecimal digits"},
		{"name: '\\ud83d'", "f:1:8: \\u must be followed by 4 hexadecimal digits that are a Unicode code point"},
		{"name: '\x00'", "f:1:8: zero byte in a string; write \\000"},
		{"name: '\\", "f:1:8: unknown escape \"\\\\\\x00\" in a string; between folders write /, and a backslash itself as \\\\"},
		{"input_dim: 08", "f:1:12: a number that starts with 0 is octal, and '8' is no octal digit"},
		{"input_dim: 0x", "f:1:12: \"0x\" must be followed by hexadecimal digits"},
		{"input_dim: 1a", "f:1:13: unexpected 'a' right after the number 1"},
		{"input_dim: 1.2.3", "f:1:15: unexpected '.' right after the number 1.2"},
		{"input_dim: 1e", "f:1:12: \"e\" must be followed by an exponent"},
		{"input_dim: [1 2]", "f:1:15: expected \",\" or \"]\" in the list of input_dim, found \"2\""},
		{"input_dim: [1,]", "f:1:15: expected a value, found \"]\""},
		{"name: ['a']", "f:1:7: expected a value, found \"[\""},
		{"name: 'a';;", "f:1:11: expected a field name, found \";\""},
		{"[a.b]: 1", "f:1:1: expected a field name, found \"[\""},
		{"\x01", "f:1:1: control character 0x01: this is not a text file (is it a binary one?)"},
		{"name: 'a' \u00e9", "f:1:11: character 'é' outside a string"},
		{"name: 'a' \xe9", "f:1:11: byte 0xe9 outside a string"},
		{"x { y 3 }", "f:1:1: NetParameter has no field \"x\"\nf:1:7: expected \":\" or \"{\" after y, found \"3\""},

		// Values.
		{"input_dim: 2147483648", "f:1:12: input_dim takes a whole number from -2147483648 to 2147483647, not 2147483648"},
		{"input_dim: 1.0", "f:1:12: input_dim takes a whole number, not 1.0"},
		{"input_shape { dim: 9223372036854775808 }", "f:1:20: dim takes a whole number from -9223372036854775808 to 9223372036854775807, not 9223372036854775808"},
		{"layer{tile_param{tiles: -x}}", "f:1:25: tiles takes a whole number, not -x"},
		{"layer{transform_param{crop_size: 4294967296}}", "f:1:34: crop_size takes a whole number from 0 to 4294967295, not 4294967296"},
		{"layer{transform_param{crop_size: -1}}", "f:1:34: crop_size takes a whole number from 0, not -1"},
		{"layer{transform_param{scale: 0x10}}", "f:1:30: scale takes a decimal number, not 0x10"},
		{"layer{transform_param{scale: 'a'}}", "f:1:30: scale takes a decimal number, not the string \"a\""},
		{"force_backward: yes", "f:1:17: force_backward takes true or false, not yes"},
		{"force_backward: 2", "f:1:17: force_backward takes true or false, not 2"},
		{"name: lenet", "f:1:7: name takes a string in quotes, not lenet"},
		{"state{phase: test}", "f:1:14: phase takes TRAIN or TEST, not test (did you mean TEST?)"},
		{"state{phase: 'TEST'}", "f:1:14: phase takes TRAIN or TEST, not the string \"TEST\" (write TEST without quotes)"},
		{"state{phase: 7}", "f:1:14: phase takes TRAIN or TEST, not 7"},
		{"name: 'a'\n\nname: 'b'", "f:3:1: name is set twice (first at line 1)"},
		{"state{}\nstate{phase: TEST}", "f:2:1: state is set twice (first at line 1)"},
		{"layer{\n clip_param{min: 1}\n}", "f:2:2: ClipParameter lacks the required field max"},

		// Hints.
		{"layer{kernel_size: 3}", "f:1:7: LayerParameter has no field \"kernel_size\" (it belongs inside convolution_param or pooling_param)"},
		{"layer{blobs_lr: 3}", "f:1:7: LayerParameter has no field \"blobs_lr\" (it is of the old form \"layers\"; write param { lr_mult: … } for each parameter)"},
		{"layr{name: 'a' b<c: [1, {d: 2}]>}", "f:1:1: NetParameter has no field \"layr\" (did you mean layer or layers?)"},
		{"base_lr: 3", "f:1:1: NetParameter has no field \"base_lr\" (it is a field of a solver, and this is a net)"},
	} {
		t.Run(c.in, func(t *testing.T) {
			_, err := parseNet(c.in)
			var te *TextError
			if !errors.As(err, &te) {
				t.Fatalf("got %v, want a TextError", err)
			}
			if err.Error() != c.want {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

// TestAllProblems: everything wrong is said at once, and what is right is kept.
func TestAllProblems(t *testing.T) {
	np, err := parseNet(`name: "n"
layer {
  name: "c"
  typ: "Convolution"
  convolution_param { num_outputs: 3 pad: -1; engine: CUDN weight_filler { type: msra } num_output: 8 }
  nested { a: 1 b { c: "}" "{" } d: [1, 2] e: -3.5f }
}
force_backwards: true
`)
	var te *TextError
	if !errors.As(err, &te) || te.File != "f" {
		t.Fatalf("got %v", err)
	}
	var at []string
	for _, p := range te.Problems {
		at = append(at, fmt.Sprintf("%d:%d", p.Line, p.Col))
	}
	if got, want := strings.Join(at, " "), "4:3 5:23 5:43 5:55 5:82 6:3 8:1"; got != want {
		t.Errorf("problems at %s, want %s\n%v", got, want, err)
	}
	if np.Layer[0].ConvolutionParam.GetNumOutput() != 8 {
		t.Error("the field after the wrong ones is missing")
	}
}

func TestDeepNesting(t *testing.T) {
	for _, in := range []string{strings.Repeat("a{", 1e5), "a:" + strings.Repeat("[", 1e5)} {
		if _, err := parseNet(in); err == nil || !strings.Contains(err.Error(), "nested deeper than 100") {
			t.Errorf("%.10s…: got %.200v", in, err)
		}
	}
}

func TestSourcePos(t *testing.T) {
	s, err := unmarshalTextPos("net.prototxt", []byte(`name: "n"
layer { name: "a" }
layer {
  name: "b"
  top: "x" top: "y"
  convolution_param {
    kernel_size: [3,
      5]
    weight_filler { std: 1 }
  }
}
`), &caffepb.NetParameter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{"name", "1:1"},
		{"layer[0]", "2:1"},
		{"layer[1].name", "4:3"},
		{"layer[1].top[1]", "5:12"},
		{"layer[1].top", "5:3"},
		{"layer[1].convolution_param.kernel_size[1]", "8:7"},
		{"layer[1].convolution_param.weight_filler.std", "9:21"},
		{"layer[1].convolution_param.bias_filler.std", "6:3"}, // not written: the message around it
		{"layer[2].name", ""},
	} {
		want := "net.prototxt"
		if c.want != "" {
			want += ":" + c.want
		}
		if got := s.At(c.path); got != want {
			t.Errorf("%s is at %s, want %s", c.path, got, want)
		}
	}
}

// messageFor returns an empty message of the kind a text file holds.
func messageFor(text []byte) proto.Message {
	if regexp.MustCompile(`(?m)^\s*(net|train_net|base_lr)\s*:`).Match(text) {
		return &caffepb.SolverParameter{}
	}
	return &caffepb.NetParameter{}
}

// eachFile calls f for all files under root whose name ends with ext.
func eachFile(t *testing.T, root, ext string, f func(path string)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ext) {
			n++
			f(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Errorf("no %s files in %s", ext, root)
	}
}

// sharedDir returns the folder of the large test data.
func sharedDir(t *testing.T) string {
	dir := os.Getenv("CREMA_SHARED")
	if dir == "" {
		t.Skip("CREMA_SHARED (the folder of the large test data) is not set")
	}
	return dir
}

// checkTextFile parses a file and compares with prototext, then prints it and
// reads that back.
func checkTextFile(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := messageFor(b)
	if err := UnmarshalText(path, b, m); err != nil {
		t.Error(err)
		return
	}
	want := m.ProtoReflect().New().Interface()
	if err := prototext.Unmarshal(b, want); err != nil {
		t.Errorf("%s: prototext: %v", path, err)
	} else if !proto.Equal(m, want) {
		t.Errorf("%s: prototext reads something else", path)
	}
	back := m.ProtoReflect().New().Interface()
	if err := UnmarshalText("printed "+path, MarshalText(m), back); err != nil {
		t.Error(err)
	} else if !proto.Equal(m, back) {
		t.Errorf("%s: printed and read back it is another message", path)
	}
}

func TestGoldenFiles(t *testing.T) {
	eachFile(t, golden, ".prototxt", func(path string) { checkTextFile(t, path) })
}

func TestSharedFiles(t *testing.T) {
	dir := sharedDir(t)
	for _, sub := range []string{"zoo", "seed"} {
		eachFile(t, filepath.Join(dir, sub), ".prototxt", func(path string) { checkTextFile(t, path) })
	}
}

// TestMarshalTextLikeCaffe prints the messages in logs of real Caffe again and
// wants every byte the same.
func TestMarshalTextLikeCaffe(t *testing.T) {
	logLine := regexp.MustCompile(`^[IWEF]\d{4,8} `)
	blocks := 0
	eachFile(t, filepath.Join(golden, "runs"), "log.txt", func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(string(b), "\n")
		for i, l := range lines {
			var m proto.Message
			switch {
			case strings.Contains(l, "] Initializing solver from parameters:"):
				m = &caffepb.SolverParameter{}
			case strings.Contains(l, "] Initializing net from parameters:"):
				m = &caffepb.NetParameter{}
			default:
				continue
			}
			var block strings.Builder
			for _, l := range lines[i+1:] {
				if logLine.MatchString(l) {
					break
				}
				block.WriteString(l)
			}
			if err := UnmarshalText(path, []byte(block.String()), m); err != nil {
				t.Fatal(err)
			}
			if got := string(MarshalText(m)); got != block.String() {
				t.Errorf("%s:%d: got\n%s\nwant\n%s", path, i+2, got, block.String())
			}
			blocks++
		}
	})
	if blocks == 0 {
		t.Error("the logs hold no messages")
	}
}

// drawMessage draws a message with up to a few values in each field.
func drawMessage(t *rapid.T, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Cardinality() != protoreflect.Required && rapid.IntRange(0, 3+depth).Draw(t, "set") != 0 {
			continue
		}
		draw := func(message func() protoreflect.Message) protoreflect.Value {
			name := string(fd.Name())
			switch fd.Kind() {
			case protoreflect.MessageKind:
				sub := message()
				drawMessage(t, sub, depth+2)
				return protoreflect.ValueOfMessage(sub)
			case protoreflect.EnumKind:
				vs := fd.Enum().Values()
				return protoreflect.ValueOfEnum(vs.Get(rapid.IntRange(0, vs.Len()-1).Draw(t, name)).Number())
			case protoreflect.BoolKind:
				return protoreflect.ValueOfBool(rapid.Bool().Draw(t, name))
			case protoreflect.FloatKind:
				return protoreflect.ValueOfFloat32(math.Float32frombits(rapid.Uint32().Draw(t, name)))
			case protoreflect.DoubleKind:
				return protoreflect.ValueOfFloat64(math.Float64frombits(rapid.Uint64().Draw(t, name)))
			case protoreflect.StringKind:
				return protoreflect.ValueOfString(string(rapid.SliceOfN(rapid.Byte(), 0, 6).Draw(t, name)))
			case protoreflect.BytesKind:
				return protoreflect.ValueOfBytes(rapid.SliceOfN(rapid.Byte(), 0, 6).Draw(t, name))
			case protoreflect.Int32Kind:
				return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, name))
			case protoreflect.Int64Kind:
				return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, name))
			case protoreflect.Uint32Kind:
				return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, name))
			case protoreflect.Uint64Kind:
				return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, name))
			}
			panic("kind " + fd.Kind().String() + " is new in the schema")
		}
		if !fd.IsList() {
			m.Set(fd, draw(func() protoreflect.Message { return m.NewField(fd).Message() }))
			continue
		}
		l := m.Mutable(fd).List()
		for range rapid.IntRange(1, 3).Draw(t, "n") {
			l.Append(draw(func() protoreflect.Message { return l.NewElement().Message() }))
		}
	}
}

// TestTextRoundTrip: what MarshalText prints, UnmarshalText and prototext read
// as the same message, all bits of every float included.
func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, m := range []proto.Message{&caffepb.NetParameter{}, &caffepb.SolverParameter{}, &caffepb.SolverState{}, &caffepb.Datum{}} {
			drawMessage(t, m.ProtoReflect(), 1)
			text := MarshalText(m)
			back := m.ProtoReflect().New().Interface()
			if err := UnmarshalText("f", text, back); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if !proto.Equal(m, back) {
				t.Fatalf("read back as\n%s\nfrom\n%s", MarshalText(back), text)
			}
			if !bytes.Equal(text, MarshalText(back)) {
				t.Fatal("printing is not stable")
			}
		}
	})
}

func FuzzUnmarshalText(f *testing.F) {
	for _, s := range []string{
		"", "name: 'a' \"b\"", "layer: { name: 'x'; top: ['a', 'b'], }", "layer <blobs { data: [1.f, -inf, nan] }>",
		"layers { layer { name: 'c' type: 'conv' kernelsize: 3 } bottom: 'b' }", "name: '\\x41\\351\\u00e9\\U0001F600\\ud83d\\ude00'",
		"input_dim: 0x10 input_dim: 017 input_dim: -1", "bogus { a: [1, {}, <>] b: -x }", "layer { clip_param { min: 1e400 max: .5 } }",
		"\xef\xbb\xbf# bom\r\nname: '\xe9'\f", "state { phase: TEST level: -2147483648 stage: '' }", "name: '\\", "layer { layer {", "a:[[[",
	} {
		f.Add([]byte(s))
	}
	for _, name := range []string{"v0", "v1", "v2"} {
		b, err := os.ReadFile("testdata/" + name + ".prototxt")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []proto.Message{&caffepb.NetParameter{}, &caffepb.SolverParameter{}} {
			s, err := unmarshalTextPos("f", b, m)
			if err != nil {
				var te *TextError
				if !errors.As(err, &te) || len(te.Problems) == 0 {
					t.Fatalf("%T %v", err, err)
				}
				lines := 1 + bytes.Count(b, []byte("\n"))
				for _, p := range te.Problems {
					if p.Line < 1 || p.Line > lines || p.Col < 1 || p.Msg == "" {
						t.Fatalf("problem %+v in a file of %d lines", p, lines)
					}
				}
				continue
			}
			s.Pos("layer[0].name")
			text := MarshalText(m)
			back := m.ProtoReflect().New().Interface()
			if err := UnmarshalText("f", text, back); err != nil {
				t.Fatalf("%v\nin\n%s", err, text)
			}
			if !bytes.Equal(text, MarshalText(back)) {
				t.Fatal("printed and read back it is another message")
			}
			if np, ok := m.(*caffepb.NetParameter); ok {
				_, _ = UpgradeNet(np)
			}
		}
	})
}
