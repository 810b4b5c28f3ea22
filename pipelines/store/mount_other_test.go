//go:build !linux

package store

import (
	"os/exec"
	"testing"
)

func ownMounts(*exec.Cmd) bool { return false }

func mountSmall(t *testing.T, dir string) { t.Skip("only on linux") }
