package main

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"crema/graph"
	"crema/prototxt"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// colourNet scores blue, green and red: the mean of each of the net's channels.
const colourNet = `name: "colours"
layer { name: "data" type: "Data" top: "x" top: "label" transform_param { crop_size: 2 mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.01 } data_param { source: "/none" batch_size: 3 } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 3 kernel_size: 1 bias_term: false } }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE global_pooling: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "p" bottom: "label" top: "loss" }
`

// writeColours writes the net, its weights and three pictures, of which the
// middle 2×2 pixels have another colour than the rest.
func writeColours(t *testing.T, dir string) (train, deploy, weights string) {
	t.Helper()
	train = writeFile(t, dir, "train.prototxt", colourNet)
	deploy = writeFile(t, dir, "deploy.prototxt", `name: "colours"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 2 dim: 2 } } }
`+colourNet[strings.Index(colourNet, `layer { name: "conv"`):strings.Index(colourNet, `layer { name: "loss"`)])
	weights = filepath.Join(dir, "w.caffemodel")
	err := prototxt.WriteBinary(weights, &caffepb.NetParameter{Name: proto.String("colours"), Layer: []*caffepb.LayerParameter{{Name: proto.String("conv"), Type: proto.String("Convolution"),
		Blobs: []*caffepb.BlobProto{{Shape: &caffepb.BlobShape{Dim: []int64{3, 3, 1, 1}}, Data: []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]color.RGBA{
		"blue.png":  {{0, 0, 200, 255}, {90, 0, 0, 255}},
		"green.png": {{0, 200, 0, 255}, {0, 0, 90, 255}},
		"red.PNG":   {{200, 0, 0, 255}, {0, 90, 0, 255}},
	} {
		m := image.NewRGBA(image.Rect(0, 0, 4, 4))
		for i := range 16 {
			x, y := i%4, i/4
			k := 1
			if (x == 1 || x == 2) && (y == 1 || y == 2) {
				k = 0
			}
			m.SetRGBA(x, y, c[k])
		}
		f, err := os.Create(filepath.Join(dir, "images", name))
		if os.IsNotExist(err) {
			if err := os.Mkdir(filepath.Join(dir, "images"), 0o777); err != nil {
				t.Fatal(err)
			}
			f, err = os.Create(filepath.Join(dir, "images", name))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return train, deploy, weights
}

// scoresOf reads the JSON of classify.
func scoresOf(t *testing.T, r result) []classified {
	t.Helper()
	var all []classified
	if err := json.Unmarshal([]byte(r.out), &all); err != nil {
		t.Fatalf("%v in\n%s", err, r.out)
	}
	return all
}

func TestClassify(t *testing.T) {
	dir := t.TempDir()
	train, deploy, weights := writeColours(t, dir)
	images := filepath.Join(dir, "images")
	labels := writeFile(t, dir, "labels.txt", "blue one\r\ngreen one\nred one\n\n")
	base := []string{"classify", "--weights", weights, "--json", "--top=1", images}
	classes := func(args ...string) (got []string) {
		for _, c := range scoresOf(t, mustCrema(t, slices.Concat(base, args)...)) {
			got = append(got, filepath.Base(c.Image)+" "+strconv.Itoa(c.Top[0].Class)+" "+c.Top[0].Label+" "+strconv.FormatFloat(float64(c.Top[0].Score), 'g', 4, 32))
		}
		return got
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"the centre", []string{"--model", deploy, "--image_dims", "4,4", "--labels", labels}, []string{"blue.png 0 blue one 200", "green.png 1 green one 200", "red.PNG 2 red one 200"}},
		{"all of it", []string{"--model", deploy}, []string{"blue.png 2  68", "green.png 0  68", "red.PNG 1  68"}},
		{"red first", []string{"--model", deploy, "--image_dims=4,4", "--channel_swap=0,1,2"}, []string{"blue.png 2  200", "green.png 1  200", "red.PNG 0  200"}},
		{"mean and scales", []string{"--model", deploy, "--image_dims=4,4", "--mean_value=10,20,30", "--raw_scale=127.5", "--input_scale=2"}, []string{"blue.png 0  180", "green.png 1  160", "red.PNG 2  140"}},
		{"ten crops", []string{"--model", deploy, "--image_dims=4,4", "--oversample"}, []string{"blue.png 0  80", "green.png 1  80", "red.PNG 2  80"}},
		// Of the first: exp(1.9)/(exp(1.9) + exp(-0.2) + exp(-0.3)).
		{"a net for training", []string{"--model", train, "--image_dims=4,4"}, []string{"blue.png 0  0.8109", "green.png 1  0.7861", "red.PNG 2  0.7605"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := classes(c.args...); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}

	r := mustCrema(t, "classify", "--model", deploy, "--weights", weights, "--image_dims=4,4", "--labels", labels, "--top=2", filepath.Join(images, "red.PNG"))
	if want := filepath.Join(images, "red.PNG") + "\n         200     2  red one\n           0     0  blue one\n"; r.out != want {
		t.Errorf("got\n%swant\n%s", r.out, want)
	}
	// One file that is no image does not keep the others from being named.
	r = crema("classify", "--model", deploy, "--weights", weights, "--json", labels, filepath.Join(images, "red.PNG"))
	wantError(t, r, 1, "1 of 2 images")
	if all := scoresOf(t, r); len(all) != 2 || all[0].Error == "" || len(all[1].Top) != 3 || !strings.Contains(r.err, labels) {
		t.Errorf("got %+v\n%s", all, r.err)
	}
}

func TestClassifyErrors(t *testing.T) {
	dir := t.TempDir()
	train, deploy, weights := writeColours(t, dir)
	picture := filepath.Join(dir, "images", "red.PNG")
	labels := writeFile(t, dir, "labels.txt", "a\nb\n")
	noCrop := writeFile(t, dir, "nocrop.prototxt", strings.Replace(colourNet, "crop_size: 2", "", 1))
	for _, c := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"no image", []string{"--model", deploy, "--weights", weights}, 2, []string{"image files"}},
		{"no weights", []string{"--model", deploy, picture}, 2, []string{"-weights"}},
		{"missing image", []string{"--model", deploy, "--weights", weights, "none.jpg"}, 1, []string{"none.jpg"}},
		{"labels", []string{"--model", deploy, "--weights", weights, "--labels", labels, picture}, 1, []string{labels, "2 lines", "3 classes"}},
		{"missing labels", []string{"--model", deploy, "--weights", weights, "--labels", "none.txt", picture}, 1, []string{"none.txt"}},
		{"image_dims", []string{"--model", deploy, "--weights", weights, "--image_dims=4", picture}, 2, []string{"-image_dims=4", "256,256"}},
		{"small image_dims", []string{"--model", deploy, "--weights", weights, "--image_dims=1,9", picture}, 2, []string{"1×9", "2×2"}},
		{"oversample what", []string{"--model", deploy, "--weights", weights, "--oversample", picture}, 2, []string{"-oversample", "-image_dims"}},
		{"two means", []string{"--model", deploy, "--weights", weights, "--mean_file=x", "--mean_value=1", picture}, 2, []string{"not both"}},
		{"mean that is no number", []string{"--model", deploy, "--weights", weights, "--mean_value=1,x,2", picture}, 2, []string{"-mean_value", `"x"`}},
		{"missing mean", []string{"--model", deploy, "--weights", weights, "--mean_file=none.npy", picture}, 1, []string{"none.npy"}},
		{"interpolation", []string{"--model", deploy, "--weights", weights, "--interpolation=cubic", picture}, 2, []string{"cubic", "skimage"}},
		{"top", []string{"--model", deploy, "--weights", weights, "--top=-1", picture}, 2, []string{"-top=-1"}},
		{"raw_scale", []string{"--model", deploy, "--weights", weights, "--raw_scale=0", picture}, 2, []string{"-raw_scale=0"}},
		{"blob", []string{"--model", deploy, "--weights", weights, "--blob=c", picture}, 1, []string{deploy, `"c"`, "1×3×2×2"}},
		{"data that are not there", []string{"--model", noCrop, "--weights", weights, picture}, 1, []string{noCrop, "/none", "-shape x="}},
		{"unknown flag of another command", []string{"--model", train, "--weights", weights, "--backward", picture}, 2, []string{"-backward"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, crema(append([]string{"classify"}, c.args...)...), c.status, c.words...)
		})
	}
}

// TestSqueezeNet: a public net gives the classes that Caffe gives it, and to the
// recorded input the recorded scores.
func TestSqueezeNet(t *testing.T) {
	dir := shared(t)
	zoo, photos := filepath.Join(dir, "zoo", "squeezenet"), filepath.Join(dir, "data", "photos")
	model, weights := filepath.Join(zoo, "deploy.prototxt"), filepath.Join(zoo, "squeezenet.caffemodel")
	args := []string{"classify", "--model", model, "--weights", weights, "--mean_value=104,117,123", "--image_dims=256,256", "--json"}
	var want [][]int
	for line := range strings.Lines(readFile(t, filepath.Join(zoo, "top5.tsv"))) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if f[0] == "image" {
			continue
		}
		args = append(args, filepath.Join(photos, f[0]))
		var five []int
		for s := range strings.FieldsSeq(f[2]) {
			class, _, _ := strings.Cut(s, ":")
			k, err := strconv.Atoi(class)
			if err != nil {
				t.Fatal(err)
			}
			five = append(five, k)
		}
		want = append(want, five)
	}
	if len(want) != 40 {
		t.Fatalf("%d photographs are recorded, want 40", len(want))
	}
	first, five := 0, 0
	for i, c := range scoresOf(t, mustCrema(t, args...)) {
		var got []int
		for _, x := range c.Top {
			got = append(got, x.Class)
		}
		if got[0] == want[i][0] {
			first++
		}
		slices.Sort(got)
		slices.Sort(want[i])
		if slices.Equal(got, want[i]) {
			five++
		}
	}
	if first < 39 || five < 36 {
		t.Errorf("the same first class for %d of 40, the same five for %d; want 39 and 36", first, five)
	}

	out := t.TempDir()
	mustCrema(t, "forward", "--model", model, "--weights", weights, "--phase=TEST", "--input", "data="+filepath.Join(zoo, "last_data.binaryproto"), "--output", out, "--blobs", "pool_final")
	score, err := graph.ReadBlobFile(filepath.Join(zoo, "last_score.binaryproto"))
	if err != nil {
		t.Fatal(err)
	}
	got := readBlob(t, filepath.Join(out, "pool_final.binaryproto"))
	if e := maxErr(got.ReadData(), score.ReadData()); !(e <= 1e-4) {
		t.Errorf("scores off by %.2g of the largest", e)
	}
}
