// Package models holds the nets that the program carries with it. The folders
// beside this file are the nets themselves, to be read, copied and run:
//
//   - quickstart: the nets of "crema quickstart", a small VGG and a linear
//     classifier, for the digits that the command draws.
//   - es_vgg: a VGG-16 for ImageNet in the form that one of its users trained
//     it; see the README there.
package models

import "embed"

// Quickstart holds the prototxt files of the folder quickstart, under that
// name. Their paths begin with "crema-quickstart/".
//
//go:embed quickstart/*.prototxt
var Quickstart embed.FS
