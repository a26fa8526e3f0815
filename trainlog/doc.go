// Package trainlog reads the logs that training writes, crema's and Caffe's, and
// makes tables of them.
//
// A log has, for each display and each test, lines with the net's outputs; each
// such group is a [Row]. Tables are those of Caffe's parse_log.py: the files
// LOG.train and LOG.test of [Log.WriteCSV] are equal to what it writes, but for
// what it loses: values that are not finite, the last row of a table where it
// is the only one or cut off, outputs of one name (several values of one blob,
// several test nets), and dates of eight digits.
package trainlog
