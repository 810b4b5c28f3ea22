package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestNobody starts the program for a user whom /etc/passwd does not know, with an empty environment.
func TestNobody(t *testing.T) {
	const uid = 54321
	cmd := exec.Command(os.Args[0])
	cmd.Args = []string{"logobeam", "version"} // by this name TestMain knows what to be
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Skip("this kernel makes no users for tests: ", err)
	}
	if err != nil || !strings.HasPrefix(string(out), "logobeam ") {
		t.Errorf("%v: %s", err, out)
	}
}
