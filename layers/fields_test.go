package layers

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/prototxt/caffepb"
)

// sources returns the text of Go files that are no tests, by name.
func sources(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources in %s: %v", dir, err)
	}
	text := map[string]string{}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text[filepath.Base(f)] = string(b)
	}
	return text
}

// TestFields: of every message that a layer type uses each field is read
// somewhere, but for a few without effect on a CPU, and the comments of the
// type's file name it.
func TestFields(t *testing.T) {
	files := sources(t, ".")
	var all strings.Builder
	for _, dir := range []string{".", "../data"} {
		for _, text := range sources(t, dir) {
			all.WriteString(text)
		}
	}
	noEffect := map[protoreflect.Name]bool{"engine": true, "force_nd_im2col": true, "stable_prod_grad": true, "share_in_parallel": true}
	documents := map[string][]string{"recurrent.go": {"lstm.go", "rnn.go"}}
	fields := (&caffepb.LayerParameter{}).ProtoReflect().Descriptor().Fields()
	call, quoted := regexp.MustCompile(`warnUnused\((.*)\)`), regexp.MustCompile(`"(\w+)"`)
	checked := map[protoreflect.Name]bool{}
	for name, text := range files {
		c := call.FindStringSubmatch(text)
		if c == nil || name == "params.go" {
			continue
		}
		where := documents[name]
		if where == nil {
			where = []string{name}
		}
		for i, m := range quoted.FindAllStringSubmatch(c[1], -1) {
			param := protoreflect.Name(m[1])
			fd := fields.ByName(param)
			if fd == nil {
				t.Errorf("%s: there is no %s", name, param)
				continue
			}
			checked[param] = true
			for j := range fd.Message().Fields().Len() {
				f := fd.Message().Fields().Get(j).Name()
				words := strings.Split(string(f), "_")
				for k, w := range words {
					words[k] = strings.ToUpper(w[:1]) + w[1:]
				}
				read := regexp.MustCompile(`\b(Get)?` + strings.Join(words, "") + `\b`)
				if !noEffect[f] && !read.MatchString(all.String()) {
					t.Errorf("%s: nothing reads %s.%s", name, param, f)
				}
				// transform_param has documentation of its own; of data_param the
				// layers that share it with Data name what they use.
				if param == "transform_param" || param == "data_param" && i > 0 {
					continue
				}
				for _, w := range where {
					if !regexp.MustCompile(`//.*\b` + string(f) + `\b`).MatchString(files[w]) {
						t.Errorf("%s: no comment names %s.%s", w, param, f)
					}
				}
			}
		}
	}
	for i := range fields.Len() {
		if f := fields.Get(i); f.Number() >= 100 && f.Kind() == protoreflect.MessageKind && !checked[f.Name()] {
			t.Errorf("no layer type uses %s", f.Name())
		}
	}
}
