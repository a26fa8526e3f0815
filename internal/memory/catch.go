package memory

// Catch, deferred, makes an error of a panic with an *Error.
func Catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case *Error:
		*err = r
	default:
		panic(r)
	}
}
