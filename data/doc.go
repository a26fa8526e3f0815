// Package data turns databases and files of images into batches of blobs.
//
//	DB (lmdb, leveldb)  ─┐                                   ┌─ decode ─ transform ─┐
//	list of image files ─┴─ Source: records in order ─ batch ┤  (several workers)   ├─ Loader.Next
//	                                                         └──────────────────────┘
//
// A [Source] hands out records one after another, for ever: behind the last
// one it begins again. A [Loader] reads records ahead of its consumer, decodes
// and transforms them on several goroutines and returns batches in the
// source's order. A [Transformer] crops, mirrors, subtracts means and scales
// (Caffe's data_transformer.cpp). The same parts, run the other way, make
// databases: [ConvertImages], [ConvertMNIST], [CreateDB], [ComputeMean].
//
// # Pictures
//
// An [Image] is planar, C×H×W, rows from the top, channels in the order blue,
// green, red (and alpha where a file has it and nothing was forced): what
// OpenCV gives Caffe. The kind of a file is found from its first bytes.
//
// JPEG files are decoded to the bit as libjpeg decodes them, smoothed chroma and
// progressive scans included, by a decoder of our own that is also faster than
// image/jpeg. A file that is cut off or damaged gives what libjpeg makes of it:
// what is there, and grey where nothing is; a warning names it. (Records of a
// database too, of which OpenCV's imdecode would leave rows of rubbish or
// nothing.) PNG, BMP, TIFF, PPM, PGM and PBM files are read as OpenCV reads
// them, PNG, PPM and grey TIFF samples of 16 bits by their high byte, those of
// colour TIFF files rounded. Of BMP and TIFF files the common kinds are read;
// others, and formats such as GIF and WebP, are errors that say so. EXIF
// orientation is not applied: Caffe's answer depends on the OpenCV release it
// was built with, and data sets made for it are upright.
//
// # Determinism
//
// A crop or mirror is drawn from a stream keyed by the seed, the layer's name,
// the phase and the record's ordinal (how many records were handed out before
// it). It depends neither on the number of workers nor on how far ahead the
// loader reads. A [Position] (ordinal and next key) is therefore all that an
// exact resume needs, and it is the position of what was consumed, not of what
// was read ahead.
//
// # Concurrency and ownership
//
// A Loader belongs to one goroutine; it owns its Source, and the Source its
// DB. Keys and values of a [DB] are valid until it is closed and must not be
// written to. A Transformer is immutable and may be shared.
package data
