package doctor

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestFindingJSON(t *testing.T) {
	in := Finding{Rule: "some-rule", Severity: Error, Sure: Likely, Where: "f:1:2", Net: "train", Layer: "l", What: "W.", Set: []string{"a=1"}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"rule":"some-rule","severity":"error","sure":"likely","where":"f:1:2","net":"train","layer":"l","what":"W.","set":["a=1"]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var out Finding
	if err := json.Unmarshal(b, &out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("read back %+v (%v)", out, err)
	}
	if err := json.Unmarshal([]byte(`{"severity":"fatal"}`), &out); err == nil {
		t.Error("an unknown severity is read")
	}
}

func TestWriteText(t *testing.T) {
	var b strings.Builder
	err := WriteText(&b, []Finding{
		{Rule: "one", Severity: Warning, Sure: Certain, Where: "net:3:4", Layer: "conv1", What: strings.Repeat("word ", 30), Why: "Because.",
			Fix: "type: \"msra\"", Set: []string{"layer.conv*.x=1", "layer.a.f={type: \"it's\"}", "a=1"}},
		{Rule: "two", Severity: Note, Sure: Possible, What: "That."},
	})
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(strings.Repeat("word ", 19))
	want := `warning: one (certain)  net:3:4  layer "conv1"
  ` + line + `
  ` + strings.TrimSpace(strings.Repeat("word ", 11)) + `
  Because.
  Edit: type: "msra"
    --set 'layer.conv*.x=1'
    --set 'layer.a.f={type: "it'\''s"}'
    --set a=1

note: two (possible)
  That.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
