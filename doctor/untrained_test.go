package doctor

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

// found returns the finding of a rule.
func found(t *testing.T, fs []Finding, rule string) Finding {
	t.Helper()
	for _, f := range fs {
		if f.Rule == rule {
			return f
		}
	}
	t.Fatalf("no finding %s in\n%s", rule, text(fs))
	return Finding{}
}

// TestUntouched: what is said of layers without gradients is true of the
// solver's decay, multipliers and momentum.
func TestUntouched(t *testing.T) {
	healthy := quickstartPatient(t, "")
	stopped := func(p *patient) { p.last().PropagateDown = []bool{false} }
	for _, c := range []struct {
		name, rule string
		edit       func(*patient)
		want, not  string
	}{
		{"stopped, no decay", "gradient-stopped", func(p *patient) { stopped(p); p.solver.WeightDecay = nil }, "They stay as they are for the whole run.", "shrink"},
		{"stopped, decay", "gradient-stopped", func(p *patient) {
			stopped(p)
			p.solve("type: \"SGD\" base_lr: 0.01 momentum: 0.9 weight_decay: 0.001")
		}, "They get no gradient, so weight_decay is all that changes them: they shrink towards 0, at base_lr by half in 6932 iterations.", "stay as they are"},
		{"stopped, L1", "gradient-stopped", func(p *patient) {
			stopped(p)
			p.solve("weight_decay: 0.001 regularization_type: \"L1\"")
		}, "they shrink towards 0.", "by half"},
		{"stopped, decay_mult 0", "gradient-stopped", func(p *patient) {
			stopped(p)
			p.solve("weight_decay: 0.001")
			for _, l := range p.weights() {
				l.Param = []*caffepb.ParamSpec{{DecayMult: proto.Float32(0)}}
			}
		}, "They stay as they are", "shrink"},
		{"not in the loss, decay", "not-in-the-loss", func(p *patient) {
			p.insert(`name: "aside" type: "InnerProduct" bottom: "data" top: "aside" inner_product_param { num_output: 2 weight_filler { type: "xavier" } }`)
			p.solve("weight_decay: 0.001")
		}, "never trained. They get no gradient, so weight_decay", "stay"},
		{"not in the loss, no decay", "not-in-the-loss", func(p *patient) {
			p.insert(`name: "aside" type: "InnerProduct" bottom: "data" top: "aside" inner_product_param { num_output: 2 weight_filler { type: "xavier" } }`)
			p.solver.WeightDecay = nil
		}, "never trained. They stay as they are", "shrink"},
		{"biases learn", "frozen", func(p *patient) {
			for _, l := range p.weights() {
				l.Param = []*caffepb.ParamSpec{{LrMult: proto.Float32(0)}}
			}
		}, "Only biases learn.", "Nothing"},
		{"nothing learns", "frozen", func(p *patient) {
			for _, l := range p.weights() {
				l.Param = []*caffepb.ParamSpec{frozenParam(), frozenParam()}
			}
		}, "Nothing is learned.", "Only"},
		{"a slope learns", "frozen", func(p *patient) {
			for _, l := range p.weights() {
				l.Param = []*caffepb.ParamSpec{frozenParam(), frozenParam()}
			}
			p.find("ReLU").Type = proto.String("PReLU")
		}, "Only \"relu1_1\" learn", "Nothing"},
		{"dead, decay", "constant-weights", func(p *patient) { p.fill(`type: "constant"`); p.solve("weight_decay: 0.001") }, "weight_decay is all that changes them", "ever change"},
		{"tests after the end", "test-interval", func(p *patient) { p.solve("test_interval: 5000") }, "before the first iteration only", "never"},
		{"no tests at all", "test-interval", func(p *patient) { p.solve("test_interval: 5000 test_initialization: false") }, "test_initialization is false, so the net is never tested", "only"},
		{"clipped to 0", "clip-tiny", func(p *patient) { p.solve("clip_gradients: 0 weight_decay: 0.001") }, "weight_decay, which comes after it, is all that is left", "next to nothing"},
		{"momentum below 0", "momentum-range", func(p *patient) { p.solve("momentum: -0.5") }, "turned against", "add up"},
		{"momentum of Adam", "momentum-range", func(p *patient) { p.solve(`type: "Adam" momentum: 1`) }, "the decay of Adam's running means", "add up"},
		{"a fork's type", "unknown-type", func(p *patient) {
			p.insert(`name: "n" type: "Permute" bottom: "pool1" top: "n"`)
		}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := healthy.clone()
			c.edit(p)
			f := found(t, p.check(t), c.rule)
			if !strings.Contains(f.Why, c.want) || c.not != "" && strings.Contains(f.Why, c.not) {
				t.Errorf("%s, want …%s…", f.Why, c.want)
			}
		})
	}
	p := healthy.clone()
	p.insert(`name: "n" type: "Permute" bottom: "pool1" top: "n"`)
	if f := found(t, p.check(t), "unknown-type"); !strings.Contains(f.What, `The layer type "Permute" is of SSD (github.com/weiliu89/caffe, branch ssd), not of Caffe.`) || f.Set != nil {
		t.Errorf("%+v", f)
	}
	p = healthy.clone()
	p.data()[0].Include = []*caffepb.NetStateRule{{Phase: caffepb.Phase_TRAIN.Enum(), Stage: []string{"none"}}}
	if f := found(t, p.check(t), "unknown-blob"); !strings.Contains(f.What, "its rules leave it out of the train net") {
		t.Errorf("%+v", f)
	}
}

// TestFillerAtFault: the finding about a signal that dies names the fillers.
func TestFillerAtFault(t *testing.T) {
	p := deepPatient(t)
	for i, l := range p.weights() {
		f := &caffepb.FillerParameter{Type: proto.String("xavier")}
		if i == 3 {
			f = &caffepb.FillerParameter{Type: proto.String("gaussian"), Std: proto.Float32(0.001)}
		}
		if q := l.ConvolutionParam; q != nil {
			q.WeightFiller = f
		} else {
			l.InnerProductParam.WeightFiller = f
		}
	}
	f := found(t, p.check(t), "signal-vanishes")
	for _, want := range []string{"At fault are the fillers: xavier in \"l0\", \"l2\", \"l5\"", "gives weights 0.5 times the variance that keeps a signal as it is", "; gaussian of std 0.001 in \"l7\" gives weights 0.000576 times"} {
		if !strings.Contains(f.What, want) {
			t.Errorf("no %q in %s", want, f.What)
		}
	}
}
