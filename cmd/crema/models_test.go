package main

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// readmeCommands returns the arguments of the commands that a README shows.
func readmeCommands(t *testing.T, file string) [][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(string(text)) {
		if args, ok := strings.CutPrefix(line, "    crema "); ok {
			all = append(all, strings.Fields(args))
		}
	}
	return all
}

var lastLoss = regexp.MustCompile(`Iteration \d+, loss = (\S+)`)

// TestModelsReadme runs every command of the READMEs in models from a folder with
// a link to models, on a few images and for a step.
func TestModelsReadme(t *testing.T) {
	models, err := filepath.Abs("../../models")
	if err != nil {
		t.Fatal(err)
	}
	commands := append(readmeCommands(t, filepath.Join(models, "README.md")), readmeCommands(t, filepath.Join(models, "es_vgg", "README.md"))...)
	t.Chdir(t.TempDir())
	if err := os.Symlink(models, "models"); err != nil {
		t.Fatal(err)
	}
	solvers, err := filepath.Glob("models/*/*solver*.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	trained := map[string]bool{}
	drawn := map[string]bool{}
	for _, args := range commands {
		line := strings.Join(args, " ")
		switch args[0] {
		case "synth":
			_, output, _ := strings.Cut(line, "--output ")
			if drawn[output] {
				continue
			}
			drawn[output] = true
			mustCrema(t, append(args, "--count=40", "--test-count=20")...)
		case "train":
			solver := strings.TrimPrefix(args[1], "--solver=")
			net := filepath.Base(filepath.Dir(solver))
			trained[solver] = true
			t.Run(net+"/"+filepath.Base(solver), func(t *testing.T) {
				if testing.Short() && strings.Contains(line, "/local/datasets") && net != "squeezenet" {
					t.Skip("a large net in a short run")
				}
				checkModelTrains(t, net, args)
			})
		default:
			t.Errorf("this test does not know what to do with %q", line)
		}
	}
	for _, s := range solvers {
		if !trained[s] && !strings.Contains(s, "quickstart") {
			t.Errorf("no README says how to train with %s", s)
		}
	}
}

// checkModelTrains runs a train command for one step, with small batches.
func checkModelTrains(t *testing.T, net string, args []string) {
	small := append(args[:len(args):len(args)], "--set=max_iter=1", "--set=display=1", "--set=random_seed=1", "--set=test_interval=1")
	tests := "--set=test_iter=1"
	switch net {
	case "autoencoder":
		tests = "--set=test_iter=1,1"
		small = append(small, "--set=layer.data.data_param.batch_size=4")
	case "lstm_char":
	default:
		small = append(small, "--set=layer.*@Data.data_param.batch_size=2")
	}
	small = append(small, tests)
	if strings.Contains(strings.Join(args, " "), "--snapshot=") {
		// It goes on from a snapshot that the first stage took after a step.
		for i, a := range small {
			if s, ok := strings.CutPrefix(a, "--snapshot="); ok {
				small[i] = "--snapshot=" + regexp.MustCompile(`_iter_\d+`).ReplaceAllString(s, "_iter_1")
			}
		}
		small = append(small, "--set=max_iter=2")
	}
	if strings.Contains(strings.Join(args, " "), "/local/datasets") {
		small = append(small, "--set=snapshot_after_train=false")
	}
	r := mustCrema(t, small...)
	m := lastLoss.FindAllStringSubmatch(r.err, -1)
	if len(m) == 0 {
		t.Fatalf("no loss in the log:\n%s", r.err)
	}
	if loss, err := strconv.ParseFloat(m[len(m)-1][1], 64); err != nil || math.IsNaN(loss) || math.IsInf(loss, 0) || loss <= 0 {
		t.Errorf("loss %g, %v", loss, err)
	}
	if !strings.Contains(r.err, "Test net output #0") {
		t.Errorf("nothing was tested:\n%s", r.err)
	}
}
