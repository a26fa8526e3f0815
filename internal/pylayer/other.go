//go:build !unix

package pylayer

import (
	"errors"
	"os"
	"os/exec"
)

// errSystem stands in for what only Unix systems have.
var errSystem = errors.New("crema runs Python layers on Linux, macOS and other Unix systems only")

func sharedFile() (*os.File, error)                  { return nil, errSystem }
func reserve(*os.File, int64, int64) error           { return errSystem }
func discard(*os.File, int64, []float32)             {}
func mapShared(*os.File, int64, int) ([]byte, error) { return nil, errSystem }
func ownGroup(*exec.Cmd)                             {}
func killGroup(leader *os.Process) error             { return leader.Kill() }
