package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// script is a child process with unmodified clients of an official SDK. It ends with this one at the latest.
type script struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

// startScript starts the script at path with one argument, as JSON, and returns what it prints. Where it cannot, it says why.
// What the script complains about goes to stderr.
func startScript(path string, argument any) (s *script, printed io.Reader, why string) {
	if path == "" {
		return nil, nil, "it was not asked for"
	}
	if _, err := exec.LookPath("node"); err != nil {
		return nil, nil, "there is no Node"
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "node_modules", "ably")); err != nil {
		return nil, nil, "the SDK is not installed; run npm ci in scripts/sdk"
	}
	arg, err := json.Marshal(argument)
	if err != nil {
		return nil, nil, err.Error()
	}
	s = &script{cmd: exec.Command("node", path, string(arg))}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		s.input, err = s.cmd.StdinPipe()
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, nil, err.Error()
	}
	return s, out, ""
}
