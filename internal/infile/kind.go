package infile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// A Kind is a kind of file that people have beside their nets.
type Kind int

// The kinds. Unknown is none of the others.
const (
	Unknown Kind = iota
	Empty
	Folder
	Pipe
	Socket
	Device
	LMDB        // a folder with data.mdb
	LMDBFile    // data.mdb itself
	LevelDB     // a folder
	Weights     // .caffemodel
	SolverState // .solverstate
	Blob        // .binaryproto: a mean
	Datum
	ONNX
	HDF5
	NumPy
	NumPyArchive
	PyTorch
	Archive
	Gzip
	Picture
	IdxImages // MNIST's
	IdxLabels
	LFSPointer
	WebPage
	UTF16
	Net // prototxt
	Solver
	LabelMap
	List // of files and labels
	Python
	JSON
	Text // another
)

var kinds = map[Kind]string{
	Unknown: "a file of an unknown kind", Empty: "empty", Folder: "a folder", Pipe: "a named pipe", Socket: "a socket", Device: "a device",
	LMDB: "an LMDB database", LMDBFile: "the data file of an LMDB database", LevelDB: "a LevelDB database",
	Weights: "a net with trained weights (.caffemodel)", SolverState: "a solver's state (.solverstate)", Blob: "a file of one blob, as a mean is (.binaryproto)",
	Datum: "a record of a database (Datum)", ONNX: "an ONNX model", HDF5: "an HDF5 file", NumPy: "a NumPy array (.npy)",
	NumPyArchive: "an archive of NumPy arrays (.npz)", PyTorch: "a pickle, as of PyTorch", Archive: "an archive (zip or tar)", Gzip: "a gzip file",
	Picture: "a picture", IdxImages: "a file of images as MNIST's (idx)", IdxLabels: "a file of labels as MNIST's (idx)",
	LFSPointer: "a Git LFS pointer, not the file itself", WebPage: "a web page", UTF16: "text in UTF-16",
	Net: "a net (prototxt)", Solver: "a solver (prototxt)", LabelMap: "a label map of SSD (prototxt)", List: "a list of files and labels",
	Python: "a Python program", JSON: "JSON", Text: "a text file",
}

// String describes the kind, with its article.
func (k Kind) String() string { return kinds[k] }

// IsMessage reports whether files of that kind are binary protobuf messages.
func (k Kind) IsMessage() bool { return k >= Weights && k <= ONNX }

// A pair is a kind that was wanted and one that was found.
type pair struct{ want, got Kind }

// advice says what to do when one kind was given in the place of another.
var advice = map[pair]string{
	{Weights, SolverState}: "resume from it with --snapshot, or give the .caffemodel that was written with it",
	{Weights, Blob}:        "weights are in a file that ends in .caffemodel",
	{Weights, Net}:         "it describes a net; its trained weights are in a file that ends in .caffemodel",
	{Weights, Solver}:      "weights are in a file that ends in .caffemodel",
	{Weights, Gzip}:        "unpack it first (gunzip)",
	{Weights, Archive}:     "unpack it first",
	{Weights, HDF5}:        "only the binary format can be read here",

	{SolverState, Weights}: "start from it with --weights, or give the .solverstate that was written with it",
	{SolverState, Solver}:  "--snapshot takes the .solverstate of a run; give this file as --solver",
	{SolverState, HDF5}:    "only the binary format can be read here",

	{Net, Solver}:      "give the file that its field net names",
	{Net, LabelMap}:    "the net is another file, such as train_val.prototxt or deploy.prototxt",
	{Net, Weights}:     "the net's prototxt is another file; give this one as --weights",
	{Net, SolverState}: "the net's prototxt is another file",
	{Net, UTF16}:       "save it as UTF-8 or plain ASCII",

	{Solver, Net}:         "the solver is another file, which names this one in its field net",
	{Solver, LabelMap}:    "the solver is another file, such as solver.prototxt",
	{Solver, Weights}:     "give it as --weights, and the solver's prototxt as --solver",
	{Solver, SolverState}: "give it as --snapshot, and the solver's prototxt as --solver",
	{Solver, UTF16}:       "save it as UTF-8 or plain ASCII",

	{Blob, Weights}: "a mean is in a file that ends in .binaryproto; crema compute_image_mean makes one",
	{Blob, NumPy}:   "convert it to a .binaryproto, or write the means of its channels as mean_value",
	{Blob, LMDB}:    "crema compute_image_mean makes a mean from it",
	{Blob, LevelDB}: "crema compute_image_mean makes a mean from it",
	{Blob, Picture}: "crema compute_image_mean makes a mean from a database",

	{LMDB, Picture}:   "pictures that are files are read by a layer of type ImageData, or put into a database by crema convert_imageset",
	{LMDB, List}:      "a list is read by a layer of type ImageData, or made into a database by crema convert_imageset",
	{LMDB, IdxImages}: "crema convert_mnist_data makes a database from it",
	{LMDB, IdxLabels}: "crema convert_mnist_data makes a database from it",
	{LMDB, HDF5}:      "it is read by a layer of type HDF5Data",
	{LMDB, Archive}:   "unpack it first",
	{LMDB, Gzip}:      "unpack it first",
	{LMDB, LevelDB}:   "set backend to LEVELDB",
	{LMDB, Folder}:    "the folder of a database holds a file data.mdb; pictures that are files are read by a layer of type ImageData",

	{LevelDB, LMDB}:     "the backend is LEVELDB (Caffe's default): set backend to LMDB",
	{LevelDB, Folder}:   "the folder of a database holds a file CURRENT; pictures that are files are read by a layer of type ImageData",
	{LevelDB, Picture}:  "pictures that are files are read by a layer of type ImageData, or put into a database by crema convert_imageset",
	{LevelDB, List}:     "a list is read by a layer of type ImageData, or made into a database by crema convert_imageset",
	{LevelDB, HDF5}:     "it is read by a layer of type HDF5Data",
	{LevelDB, LMDBFile}: "the backend is LEVELDB (Caffe's default): set backend to LMDB",

	{List, LMDB}:    "it is read by a layer of type Data with backend: LMDB",
	{List, LevelDB}: "it is read by a layer of type Data with backend: LEVELDB",
	{List, Picture}: "a list has a picture's file name and its label on each line",
	{List, Folder}:  "a list has a picture's file name and its label on each line",
	{List, UTF16}:   "save it as UTF-8 or plain ASCII",

	{IdxImages, IdxLabels}: "the two files are swapped: give the images first, then the labels",
	{IdxLabels, IdxImages}: "the two files are swapped: give the images first, then the labels",

	{Picture, Weights}: "a list of pictures is wanted here",
}

// anyWant has the advice that goes with a kind wherever it is found.
var anyWant = map[Kind]string{
	LFSPointer: "fetch the file itself (git lfs pull)",
	WebPage:    "a download that went wrong: look at it and fetch the file again",
	UTF16:      "save it as UTF-8 or plain ASCII",
	Pipe:       "crema reads files more than once: write it to a file first; --set changes single fields of a prototxt",
}

// Instead says that a file is k and not want, and what to do about it: "this is
// a solver (prototxt), not a net (prototxt): give …". It is "" if k is Unknown
// or want itself.
func (k Kind) Instead(want Kind) string {
	if k == Unknown || k == want {
		return ""
	}
	if k == Empty {
		return "the file is empty"
	}
	msg := fmt.Sprintf("this is %s, not %s", k, want)
	a := advice[pair{want, k}]
	if a == "" {
		a = anyWant[k]
	}
	if a != "" {
		msg += ": " + a
	}
	return msg
}

// magic has the bytes that files of some kinds begin with.
var magic = []struct {
	prefix string
	kind   Kind
}{
	{"\x89HDF\r\n\x1a\n", HDF5},
	{"version https://git-lfs", LFSPointer},
	{"\x93NUMPY", NumPy},
	{"\xff\xd8\xff", Picture},
	{"\x89PNG\r\n\x1a\n", Picture},
	{"GIF8", Picture},
	{"II*\x00", Picture},
	{"MM\x00*", Picture},
	{"\x00\x00\x08\x03", IdxImages},
	{"\x00\x00\x08\x01", IdxLabels},
	{"\x80\x02", PyTorch},
	{"\x80\x04", PyTorch},
	{"\xff\xfe", UTF16},
	{"\xfe\xff", UTF16},
}

// Of tells what kind of file begins with head; a few kilobytes are enough.
func Of(head []byte) Kind {
	if len(head) == 0 {
		return Empty
	}
	for _, m := range magic {
		if bytes.HasPrefix(head, []byte(m.prefix)) {
			return m.kind
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return inGzip(head)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		switch {
		case bytes.Contains(head, []byte(".npy")):
			return NumPyArchive
		case bytes.Contains(head, []byte("/data.pkl")):
			return PyTorch
		}
		return Archive
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return Archive
	case bytes.HasPrefix(head, []byte("BM")) && len(head) > 18 && binary.LittleEndian.Uint32(head[14:]) <= 124:
		return Picture
	case len(head) >= 20 && binary.LittleEndian.Uint32(head[16:]) == 0xBEEFC0DE:
		return LMDBFile // after a page header of 16 bytes
	case wide(head):
		return UTF16
	case isText(head):
		return ofText(string(head))
	}
	return ofFields(head)
}

// inGzip tells what is packed in a gzip file, if that is read as it is (MNIST's
// files are), else Gzip.
func inGzip(head []byte) Kind {
	z, err := gzip.NewReader(bytes.NewReader(head))
	if err != nil {
		return Gzip
	}
	var b [4]byte
	if _, err := io.ReadFull(z, b[:]); err != nil {
		return Gzip
	}
	if k := Of(b[:]); k == IdxImages || k == IdxLabels {
		return k
	}
	return Gzip
}

// wide reports whether b looks like ASCII text in UTF-16 without a mark.
func wide(b []byte) bool {
	b = b[:min(len(b), 64)&^1]
	if len(b) < 8 {
		return false
	}
	for low := range 2 {
		ok := true
		for i := 0; i < len(b); i += 2 {
			c, zero := b[i+low], b[i+1-low]
			ok = ok && zero == 0 && (c >= ' ' && c < 0x7f || c == '\n' || c == '\r' || c == '\t')
		}
		if ok {
			return true
		}
	}
	return false
}

// isText reports whether b has no control characters and, but for a character
// cut off at its end, is UTF-8.
func isText(b []byte) bool {
	b = b[:min(len(b), 1<<12)]
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b) || len(b) > utf8.UTFMax && utf8.Valid(b[:len(b)-utf8.UTFMax]) || mostlyASCII(b)
}

// mostlyASCII reports whether few bytes are above 0x7f, as in Latin-1 comments.
func mostlyASCII(b []byte) bool {
	high := 0
	for _, c := range b {
		if c >= 0x80 {
			high++
		}
	}
	return high*10 < len(b)
}

// fieldKinds has fields that stand at the top of a prototxt of one kind alone.
var fieldKinds = map[string]Kind{
	"layer": Net, "layers": Net, "input": Net, "input_dim": Net, "input_shape": Net, "force_backward": Net, "state": Net,
	"base_lr": Solver, "lr_policy": Solver, "max_iter": Solver, "net": Solver, "train_net": Solver, "test_net": Solver, "net_param": Solver,
	"train_net_param": Solver, "test_iter": Solver, "test_interval": Solver, "snapshot_prefix": Solver, "snapshot": Solver, "solver_mode": Solver,
	"solver_type": Solver, "momentum": Solver, "weight_decay": Solver, "stepsize": Solver, "gamma": Solver, "display": Solver,
	"item": LabelMap,
}

// ofText tells a prototxt from other text: by the first names that stand at its
// top level.
func ofText(s string) Kind {
	s = strings.TrimPrefix(s, "\ufeff")
	trimmed := strings.ToLower(strings.TrimSpace(s[:min(len(s), 512)]))
	switch {
	case trimmed == "":
		return Empty
	case strings.HasPrefix(trimmed, "<!doctype"), strings.HasPrefix(trimmed, "<html"), strings.HasPrefix(trimmed, "<?xml"):
		return WebPage
	case strings.HasPrefix(trimmed, "{"), strings.HasPrefix(trimmed, "["):
		return JSON
	}
	if k := topFields(s); k != Unknown {
		return k
	}
	if looksListed(s) {
		return List
	}
	if strings.HasPrefix(trimmed, "#!") && strings.Contains(trimmed, "python") || strings.HasPrefix(trimmed, "import ") || strings.HasPrefix(trimmed, "from ") {
		return Python
	}
	return Text
}

// topFields returns the kind of prototxt that s begins like, by the names
// outside of braces that are followed by a colon or a brace; Unknown if there
// is none that decides, or if the first word is no such name.
func topFields(s string) Kind {
	depth, first := 0, true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '#':
			for i < len(s) && s[i] != '\n' {
				i++
			}
		case c == '"' || c == '\'':
			for i++; i < len(s) && s[i] != c && s[i] != '\n'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case c == '{' || c == '<':
			depth++
		case c == '}' || c == '>':
			depth--
		case isLetter(c):
			j := i
			for j < len(s) && (isLetter(s[j]) || s[j] >= '0' && s[j] <= '9') {
				j++
			}
			rest := strings.TrimLeft(s[j:], " \t\r\n")
			field := strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "{")
			if first && !field {
				return Unknown
			}
			if k, ok := fieldKinds[s[i:j]]; ok && field && depth == 0 {
				return k
			}
			i, first = j-1, false
		case first && c > ' ':
			return Unknown
		}
	}
	return Unknown
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// looksListed reports whether the first whole lines of s are names with a whole
// number behind them.
func looksListed(s string) bool {
	lines := strings.Split(s, "\n")
	if len(lines) > 1 {
		lines = lines[:len(lines)-1]
	}
	n := 0
	for _, l := range lines[:min(len(lines), 10)] {
		f := strings.Fields(l)
		if len(f) == 0 {
			continue
		}
		label := strings.TrimPrefix(f[len(f)-1], "-")
		if len(f) < 2 || strings.HasSuffix(f[0], ":") || label == "" || strings.Trim(label, "0123456789") != "" {
			return false
		}
		n++
	}
	return n > 0
}

// sealField is the number of the field that snapshots of crema begin with
// (internal/seal).
const sealField = 1001

// ofFields tells Caffe's binary files by the protobuf fields they begin with.
func ofFields(head []byte) Kind {
	type seen struct {
		num protowire.Number
		typ protowire.Type
	}
	var fields []seen
	for b := head; len(b) > 0 && len(fields) < 12; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || typ == protowire.StartGroupType || typ == protowire.EndGroupType {
			return Unknown
		}
		if num != sealField {
			fields = append(fields, seen{num, typ})
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			break // the value goes on behind the head
		}
		b = b[n+m:]
	}
	is := func(i int, num protowire.Number, typ protowire.Type) bool {
		return i < len(fields) && fields[i] == seen{num, typ}
	}
	has := func(num protowire.Number, typ protowire.Type) bool {
		for i := range fields {
			if is(i, num, typ) {
				return true
			}
		}
		return false
	}
	const varint, bytesType = protowire.VarintType, protowire.BytesType
	switch {
	case has(100, bytesType) && (is(0, 1, bytesType) || is(0, 100, bytesType) || is(0, 3, bytesType)):
		return Weights
	case is(0, 1, bytesType) && (is(1, 2, bytesType) || is(1, 3, bytesType) || is(1, 8, bytesType)):
		return Weights // V1
	case is(0, 1, varint) && is(1, 2, bytesType) && (has(7, bytesType) || has(8, bytesType)):
		return ONNX
	case is(0, 1, varint) && (is(1, 2, bytesType) || is(1, 3, bytesType)):
		return SolverState
	case is(0, 1, varint) && is(1, 2, varint) && is(2, 3, varint) && is(3, 4, bytesType):
		return Datum
	case is(0, 1, varint) && is(1, 2, varint) && is(2, 3, varint) && is(3, 4, varint) && is(4, 5, bytesType):
		return Blob
	case is(0, 5, bytesType) && (len(fields) == 1 || is(1, 7, bytesType) || is(1, 6, bytesType)), is(0, 7, bytesType) && is(1, 5, bytesType):
		return Blob
	}
	return Unknown
}
