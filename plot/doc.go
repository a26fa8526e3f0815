// Package plot draws line charts as SVG and PNG files: a loss by iteration, a
// signal by layer. It is a thin layer over gonum.org/v1/plot that settles what
// all charts of crema have in common: a white ground, colours that people who
// cannot tell red from green can tell apart, a legend beside the lines and not
// over them, log axes with readable labels, and gaps where values are not
// finite.
//
// Files are written whole or not at all. SVG text names a font family that
// most systems have a metric-compatible substitute for; PNG text is drawn with
// a font that is compiled in.
package plot
