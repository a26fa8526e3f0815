package netdraw

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"crema/netinfo"
)

// WriteDot writes a net in graphviz' language: dot -Tpdf net.dot.
func WriteDot(w io.Writer, i *netinfo.Info, dir Direction) error {
	d := newDiagram(i)
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "digraph %s {\n", quote(d.title))
	fmt.Fprintf(b, "\trankdir=%s;\n\tlabel=%s;\n\tlabelloc=t;\n", dir, quote(d.title+"\n"+d.subtitle))
	fmt.Fprint(b, "\tnode [shape=box, style=filled, fontname=\"Helvetica\", fontsize=10];\n\tedge [fontname=\"Helvetica\", fontsize=9];\n")
	id := map[*box]string{}
	for k, x := range d.boxes {
		id[x] = fmt.Sprintf("l%d", k)
		var text []string
		for _, t := range x.lines {
			text = append(text, t.text)
		}
		c := colors[x.kind]
		fmt.Fprintf(b, "\t%s [label=%s, fillcolor=\"#%02x%02x%02x\"];\n", id[x], quote(strings.Join(text, "\n")), c[0], c[1], c[2])
	}
	for _, x := range d.wires {
		for _, to := range x.to {
			label := ""
			if len(x.from.out) > 1 {
				label = " [label=" + quote(x.blob) + "]"
			}
			fmt.Fprintf(b, "\t%s -> %s%s;\n", id[x.from], id[to], label)
		}
	}
	fmt.Fprint(b, "}\n")
	return b.Flush()
}

// quote writes a string of graphviz' language; new lines stay such.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
