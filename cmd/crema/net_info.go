package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"crema/netinfo"
	"crema/tensor"
)

func init() {
	register(command{name: "net_info", args: "MODEL",
		summary: "list a net's layers: shapes, parameters, multiply-adds, memory", group: groupLook, run: runNetInfo})
}

// netReport is what -json writes: the phase that the table would show first.
type netReport struct {
	Model  string          `json:"model"`
	Phases []*netinfo.Info `json:"phases"`
}

// runNetInfo writes what a net consists of. Nothing is run and no data are
// needed.
func runNetInfo(args []string, s stdio) error {
	fs := newFlags("net_info", "MODEL", s)
	f := addShapeFlags(fs)
	asJSON := fs.Bool("json", false, "write JSON; there multiply-adds are those of the whole batch")
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if pos, err = f.takeModel(fs, pos); err != nil {
		return err
	}
	if len(pos) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", pos[0])}
	}
	return withLog(f.log, s, func(_ context.Context, log *runLog) error {
		n, err := f.read(log)
		if err != nil {
			return err
		}
		all, err := n.phases()
		if err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(s.out)
			e.SetIndent("", " ")
			return e.Encode(netReport{f.model, all})
		}
		if err := all[0].WriteTable(s.out); err != nil {
			return err
		}
		return writeSums(s.out, all)
	})
}

// writeSums writes the lines below the table: what the sums mean, and what
// differs between the phases.
func writeSums(w io.Writer, all []*netinfo.Info) error {
	shown := all[0]
	var in []string
	for _, b := range shown.Inputs {
		in = append(in, b.String())
	}
	item := ""
	if shown.Batch > 1 {
		item = fmt.Sprintf(" for each of %d items (axis 0 of %s)", shown.Batch, shown.Inputs[0].Name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nphase          %s; inputs: %s\n", shown.Phase, orNone(in))
	fmt.Fprintf(&b, "parameters     %s, %s; training takes up to three times that (values, gradients, history)", netinfo.Count(shown.Parameters), netinfo.Bytes(4*shown.Parameters))
	if shown.Statistics > 0 {
		fmt.Fprintf(&b, "\n               beside them %s statistics of BatchNorm layers, above in parentheses", netinfo.Count(shown.Statistics))
	}
	macs := shown.PerItem(shown.MACs)
	fmt.Fprintf(&b, "\nmultiply-adds  %s%s, as papers count; %s floating-point operations", netinfo.Short(macs), item, netinfo.Short(netinfo.FLOPs(macs)))
	if shown.Batch > 1 {
		fmt.Fprintf(&b, "\n               %s for the whole batch", netinfo.Short(shown.MACs))
	}
	b.WriteString("\n               counted: convolutions, fully connected and recurrent layers, without biases")
	if len(shown.UnknownMACs) > 0 {
		fmt.Fprintf(&b, "\n               not known of %s", strings.Join(shown.UnknownMACs, ", "))
	}
	b.WriteString("\nactivations    ")
	for k, i := range all {
		if k > 0 {
			b.WriteString("\n               ")
		}
		// Gradients are there only if a backward pass is run: in training.
		if i.Phase == "TRAIN" {
			fmt.Fprintf(&b, "TRAIN %s: values %s, gradients %s", netinfo.Bytes(i.ValueBytes+i.GradientBytes), netinfo.Bytes(i.ValueBytes), netinfo.Bytes(i.GradientBytes))
		} else {
			fmt.Fprintf(&b, "TEST  %s: values", netinfo.Bytes(i.ValueBytes))
		}
		if k > 0 && i.Inputs != nil && shown.Inputs != nil && i.Batch != shown.Batch {
			fmt.Fprintf(&b, " (%s is %s there)", i.Inputs[0].Name, tensor.FormatShape(i.Inputs[0].Shape))
		}
	}
	b.WriteByte('\n')
	for _, note := range shown.Notes {
		fmt.Fprintf(&b, "note           %s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
