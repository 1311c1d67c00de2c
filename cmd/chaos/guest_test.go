package main

import (
	"fmt"
	"strings"
	"testing"
)

// A guest complains of what must not be, and of nothing else.
func TestGuestJudges(t *testing.T) {
	attached := func(serial string, flags int64) guestFrame {
		return guestFrame{Action: actAttached, Channel: "c", Serial: serial, Flags: flags}
	}
	message := func(n ...int) guestFrame {
		f := guestFrame{Action: actMessage, Channel: "c", Serial: fmt.Sprint("s", n)}
		for _, n := range n {
			f.Messages = append(f.Messages, struct {
				Data string `json:"data"`
			}{fmt.Sprint(n)})
		}
		return f
	}
	for name, c := range map[string]struct {
		frames []guestFrame
		says   string // "" when all is well
	}{
		"in order":        {[]guestFrame{attached("s", 0), message(1), message(2, 3), attached("s3", flagResumed), message(4)}, ""},
		"a gap":           {[]guestFrame{attached("s", 0), message(1), message(3)}, `heard "3" after 1`},
		"twice":           {[]guestFrame{attached("s", 0), message(1), message(1)}, `heard "1" after 1`},
		"not resumed":     {[]guestFrame{attached("s", 0), message(1), attached("t", 0)}, "not resumed"},
		"detached":        {[]guestFrame{attached("s", 0), {Action: actDetached, Channel: "c"}}, "was detached"},
		"refused publish": {[]guestFrame{{Action: actNack}}, "was refused"},
	} {
		t.Run(name, func(t *testing.T) {
			crowd := &crowd{}
			g := newGuest(crowd, 1, "c")
			for _, f := range c.frames {
				g.take(f, func() {})
			}
			err := crowd.failed()
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
