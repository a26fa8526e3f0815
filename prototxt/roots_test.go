package prototxt

import (
	"strings"
	"testing"
)

func TestRootsResolve(t *testing.T) {
	r, err := ParseRoots([]string{
		"/local/datasets=./data", "/local/datasets/imagenet/=/mnt/in", "/local/mean.binaryproto=m.binaryproto", "models=/m/", "/a/b=/", "/x=a=b",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, want string }{
		{"/local/datasets/cifar/train_lmdb", "./data/cifar/train_lmdb"},
		{"/local/datasets", "./data"},
		{"/local/datasets/", "./data/"},
		{"/local/datasets2/x", "/local/datasets2/x"},
		{"/local/datasets/imagenet/val", "/mnt/in/val"},
		{"/local/datasets/imagenet", "/mnt/in"},
		{"/local/datasets/imagenet2", "./data/imagenet2"},
		{"//local/./datasets//x/", "./data/x/"},
		{"/local/mean.binaryproto", "m.binaryproto"},
		{"/local/mean.binaryproto.old", "/local/mean.binaryproto.old"},
		{"models/vgg/snap", "/m/vgg/snap"},
		{"./models/vgg", "/m/vgg"},
		{"models", "/m/"},
		{"my/models/x", "my/models/x"},
		{"/a/b/c", "/c"},
		{"/x/y", "a=b/y"},
		{"./unchanged//path/", "./unchanged//path/"},
		{"", ""},
	} {
		if got := r.Resolve(c.in); got != c.want {
			t.Errorf("Resolve(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	all, err := ParseRoots([]string{"/=/mnt", "/data=/d"})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{"/data/x": "/d/x", "/other/x": "/mnt/other/x", "rel/x": "rel/x", "/": "/mnt"} {
		if got := all.Resolve(in); got != want {
			t.Errorf("Resolve(%q) = %q, want %q", in, got, want)
		}
	}
	if got := (Roots{}).Resolve("/a"); got != "/a" {
		t.Errorf("the zero Roots makes %q of /a", got)
	}
}

func TestParseRootsErrors(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"/a"}, `--data-root "/a": want FROM=TO`},
		{[]string{"=/a"}, "want FROM=TO"},
		{[]string{"/a="}, "want FROM=TO"},
		{[]string{"/a=/b", "/a/=/c"}, "/a is already replaced by /b"},
	} {
		if _, err := ParseRoots(c.flags); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.flags, err, c.want)
		}
	}
}
