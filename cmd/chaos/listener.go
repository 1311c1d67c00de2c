package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// listener is a child process with unmodified clients of an official SDK that subscribe to channels.
type listener struct {
	*script
	lines *bufio.Scanner
}

// listenerMax is how long the child may take to begin, and to end.
const listenerMax = time.Minute

// startListener starts the script and waits until its clients are attached. Where it cannot, it says why.
func startListener(path string, procs []*proc, names []string) (*listener, string) {
	var ports []int
	for _, p := range procs {
		_, port, _ := net.SplitHostPort(p.listen)
		n, _ := strconv.Atoi(port)
		ports = append(ports, n)
	}
	c, out, why := startScript(path, map[string]any{"key": demoKey, "ports": ports, "channels": names})
	if c == nil {
		return nil, why
	}
	l := &listener{script: c, lines: bufio.NewScanner(out)}
	l.lines.Buffer(nil, 64<<20)
	if _, err := l.line(); err != nil {
		l.kill()
		return nil, "its clients did not attach: " + err.Error()
	}
	return l, ""
}

// line is the child's next line.
func (l *listener) line() ([]byte, error) {
	late := time.AfterFunc(listenerMax, func() { l.cmd.Process.Kill() })
	defer late.Stop()
	if !l.lines.Scan() {
		return nil, errors.Join(errors.New("it ended"), l.lines.Err())
	}
	return l.lines.Bytes(), nil
}

// finish asks what the clients have heard, and ends them.
func (l *listener) finish() (ears []*ear, trouble []string, err error) {
	if _, err := io.WriteString(l.input, "end\n"); err != nil {
		return nil, nil, err
	}
	text, err := l.line()
	if err != nil {
		return nil, nil, fmt.Errorf("the clients of the SDK: %w", err)
	}
	var said struct {
		Clients []struct {
			Heard map[string][][3]int // by channel: publisher and a range of its numbers, in the order heard
		}
		Trouble []string
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, nil, fmt.Errorf("the clients of the SDK said %.200s: %w", text, err)
	}
	for i, c := range said.Clients {
		e := newEar(fmt.Sprintf("ably-js %d", i))
		for name, runs := range c.Heard {
			var ch int
			fmt.Sscanf(name, "talk:%d", &ch)
			for _, run := range runs {
				for n := run[1]; n <= run[2]; n++ {
					e.hear(voice{run[0], ch}, n)
				}
			}
		}
		ears = append(ears, e)
	}
	l.input.Close()
	l.cmd.Wait()
	return ears, said.Trouble, nil
}

func (l *listener) kill() {
	if l.cmd.ProcessState == nil {
		l.cmd.Process.Kill()
		l.cmd.Wait()
	}
}
