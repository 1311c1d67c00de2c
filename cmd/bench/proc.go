package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of the times in /proc/PID/stat. It has been a hundredth of a second on every Linux for ages.
const clockTick = 10 * time.Millisecond

// process is a server that was started for a measurement.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	log    string // file of its output
}

// startProcess starts a server whose output goes to a file. It dies with this process, whatever happens to it.
func startProcess(log string, name string, args ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, exited: make(chan struct{}), log: log}
	go func() {
		cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// stop ends the process, gently first.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-p.exited
	}
}

// alive is an error with the end of the log when the process is gone.
func (p *process) alive() error {
	select {
	case <-p.exited:
		text, _ := os.ReadFile(p.log)
		if len(text) > 2000 {
			text = text[len(text)-2000:]
		}
		return fmt.Errorf("server %d ended: %s\n%s", p.cmd.Process.Pid, p.cmd.ProcessState, text)
	default:
		return nil
	}
}

// cpu is the time the process has used so far, in user and system mode.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, p.gone(err)
	}
	return parseCPU(text)
}

// parseCPU takes utime and stime, fields 14 and 15, out of a stat line. The second field may hold blanks and brackets.
func parseCPU(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat line not understood: %s", stat)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("stat line not understood: %s", stat)
	}
	return time.Duration(user+system) * clockTick, nil
}

// memory is the resident memory of the process, in bytes.
func (p *process) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, p.gone(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", p.cmd.Process.Pid)
}

func (p *process) gone(err error) error {
	if ended := p.alive(); ended != nil {
		return ended
	}
	return err
}
