package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// attendants is a child process with unmodified clients of an official SDK that are present on channels.
type attendants struct {
	child  *listener
	steady []string // as of the last look; see attendantsView

	mu sync.Mutex // of what is said to the child
}

// attendantsView is what the clients mean and see, by channel: client@connection=data.
type attendantsView struct {
	Means   map[string][]string
	Sees    []map[string][]string // by client
	Leaves  [][4]string           // channel, client id, connection, witness: leaves that nobody said, since the last look
	Steady  []string              // "channel client@connection": who was meant to be there all the time since the last settle
	Trouble []string              // since the last look
}

// startAttendants starts the script and waits until its clients are present. Where it cannot, it says why.
func startAttendants(path string, procs []*proc, channels []string) (*attendants, string) {
	child, why := startListener(path, procs, channels)
	if child == nil {
		return nil, why
	}
	return &attendants{child: child}, ""
}

func (a *attendants) tell(line string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := io.WriteString(a.child.input, line+"\n")
	return err
}

// stir has one of the clients say something.
func (a *attendants) stir() { a.tell("stir") }

// settle begins another time in which members are steady.
func (a *attendants) settle() { a.tell("settle") }

// look asks for everything.
func (a *attendants) look() (*attendantsView, error) {
	if err := a.tell("look"); err != nil {
		return nil, err
	}
	text, err := a.child.line()
	if err != nil {
		return nil, fmt.Errorf("the clients of the SDK: %w", err)
	}
	v := &attendantsView{}
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("the clients of the SDK said %.200s: %w", text, err)
	}
	a.steady = v.Steady
	return v, nil
}

func (a *attendants) close() {
	a.child.input.Close()
	a.child.cmd.Wait()
}
