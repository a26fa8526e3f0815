package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"crema/internal/cpu"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	only    []string
	threads []int
	rounds  int
	out     string
	full    bool
	torch   []string
	shapes  string
	nchw    bool
	launch  launcher
}

func run() (err error) {
	only := flag.String("only", "sgemm,fc,conv,vgg", "`parts` to measure")
	threads := flag.String("threads", "1,2", "numbers of threads to measure with")
	rounds := flag.Int("rounds", 5, "rounds, of which the median counts")
	out := flag.String("out", "", "`folder` with performance.md and img/ to write to (default docs of the checkout; \"none\" only prints)")
	full := flag.Bool("full", false, "sgemm: all four transpositions of every shape")
	torch := flag.String("torch", "1,2,3,4", "vgg: `settings` of PyTorch: 1 NCHW, 2 with malloc tuned, 3 channels_last, 4 with malloc tuned")
	shapes := flag.String("shapes", "", "sgemm, fc, conv: only shapes whose name contains this `text`")
	layout := flag.String("layout", "blocked", "conv: crema's `layout`, blocked (where there are 16 channels and a kernel for it) or nchw")
	isa := flag.String("isa", "", "hold all programs to avx2; default the best of the machine")
	root := flag.String("root", "../..", "the checkout")
	isServer := flag.Bool("serve", false, "answer requests on standard input, as peers do")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	o := options{rounds: *rounds, out: *out, full: *full, shapes: *shapes}
	if o.launch.root, err = filepath.Abs(*root); err != nil {
		return err
	}
	if *isServer {
		return serve(o.launch.root, os.Stdin, os.Stdout)
	}
	if *layout != "blocked" && *layout != "nchw" {
		return fmt.Errorf("-layout %s: neither blocked nor nchw", *layout)
	}
	o.nchw = *layout == "nchw"
	if *isa != "" && *isa != "avx2" {
		return fmt.Errorf("-isa %s: only avx2 can be asked for", *isa)
	}
	o.launch.isa = *isa
	if o.rounds < 1 {
		return errors.New("-rounds must be at least 1")
	}
	for _, t := range strings.Split(*threads, ",") {
		n, err := strconv.Atoi(t)
		if err != nil || n < 1 {
			return fmt.Errorf("-threads: %q is not a positive number", t)
		}
		o.threads = append(o.threads, n)
	}
	for _, t := range strings.Split(*torch, ",") {
		n, err := strconv.Atoi(t)
		if err != nil || n < 1 || n > len(settings) {
			return fmt.Errorf("-torch: no setting %q", t)
		}
		o.torch = append(o.torch, settings[n-1].name)
	}
	for _, name := range strings.Split(*only, ",") {
		if parts[name] == nil {
			return fmt.Errorf("-only: no part %q", name)
		}
		o.only = append(o.only, name)
	}
	switch o.out {
	case "":
		o.out = filepath.Join(o.launch.root, "docs")
	case "none":
		o.out = ""
	}
	if o.launch.bin, err = os.MkdirTemp("", "crema-peers-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.launch.bin)) }()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	go func() { // the programs get the signal from the terminal themselves
		<-interrupted
		os.RemoveAll(o.launch.bin)
		os.Exit(130)
	}()
	if err := o.launch.build(); err != nil {
		return err
	}
	for _, name := range o.only {
		start := time.Now()
		if err := o.part(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(os.Stderr, "%s took %.0f s\n", name, time.Since(start).Seconds())
	}
	return nil
}

// part measures one part, prints its table and writes it to the document.
func (o *options) part(name string) error {
	p := parts[name]
	suffix := ""
	if o.launch.isa != "" {
		suffix = "-" + o.launch.isa
	}
	doc := filepath.Join(o.out, "performance.md")
	if o.out != "" { // find out before, not after the work
		if err := checkBlock(doc, name+suffix); err != nil {
			return err
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Measured %s on %s, %s.\n", time.Now().Format(time.DateOnly), cpu.Name(), plural(o.rounds, "round"))
	for _, t := range o.threads {
		r, err := o.measure(t, p)
		if err != nil {
			return err
		}
		p.table(&text, o, r)
		if o.out != "" && p.plot != nil {
			plots, err := p.plot(r)
			if err != nil {
				return err
			}
			file := fmt.Sprintf("img/%s%s-%d.svg", name, suffix, t)
			if err := savePlot(plots, filepath.Join(o.out, file)); err != nil {
				return err
			}
			fmt.Fprintf(&text, "\n![%s, %s](%s)\n", p.title, plural(t, "thread"), file)
		}
	}
	fmt.Println(text.String())
	if o.out == "" {
		return nil
	}
	return replaceBlock(doc, name+suffix, text.String())
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
