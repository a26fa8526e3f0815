// Package netdraw draws a net as a graph: a box for each layer, with the layers
// that follow it in place, and lines for the blobs between them. Boxes show
// type, geometry, shape, parameters and multiply-adds.
//
// [WriteSVG] and [WritePNG] lay the graph out themselves; [WriteDot] writes a file
// for graphviz, which lays it out in its own way. [Save] goes by the file's name.
//
// # Layout
//
// Boxes stand in ranks: each behind the last of those it reads from (Sugiyama,
// Tagawa and Toda 1981). A blob that passes ranks without being read there has a
// place of its own in each of them, so that no line runs through a box; readers
// of one blob share those places. Within ranks, boxes are sorted by the mean of
// their neighbours while that removes crossings, and then placed so that most
// lines are straight and long ones nearly always (Brandes and Köpf 2001); what
// stands in a straight line is at last moved as a whole to close gaps.
package netdraw
