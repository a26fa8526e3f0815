// Package browsertest tests the page of a training run in a headless Chromium,
// with a real run behind it. It is a module of its own, so that neither users
// of crema nor its other tests need a browser or the packages that drive it:
//
//	go test -v . [-screenshots FOLDER]
//
// It needs a chromium or google-chrome on the PATH.
package browsertest
