package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// TestFullDisk fills the file system under a node that confirms attaches. The node stops and says why, and so does every
// start until there is room again; then all that was confirmed is there.
func TestFullDisk(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	t.Cleanup(func() { exec.Command("umount", mount).Run() })
	s := newSite(t, filepath.Join(mount, "data"))
	p := s.serve(t).ready(s)
	s.attach(t, "chat:first")

	filler, err := os.Create(filepath.Join(mount, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	if _, err := io.Copy(filler, zeros{}); err == nil {
		t.Fatal("the file system does not fill")
	}

	// Attach until the node goes.
	conn := s.attach(t)
	go func() {
		for i := 0; ; i++ {
			frame := fmt.Appendf(nil, `{"action":10,"channel":"chat:%d-%0100d"}`, i, 0)
			head := []byte{0x81, 0x80 | 126, 0, byte(len(frame)), 0, 0, 0, 0}
			if _, err := conn.Write(append(head, frame...)); err != nil {
				return
			}
			time.Sleep(100 * time.Microsecond) // one write for few of them
		}
	}()
	said, _ := io.ReadAll(conn)
	confirmed := regexp.MustCompile(`"action":11,"channel":"([^"]+)"`).FindAllSubmatch(said, -1)
	file := filepath.Join(s.dir, "log.db")
	p.refused(exitFailed, file, "no space left on device", "make room on the file system of "+s.dir)
	t.Logf("%d attaches confirmed on the way", len(confirmed))

	p = s.serve(t)
	<-p.done
	p.refused(p.cmd.ProcessState.ExitCode(), file, "no space left on device", "make room on the file system of "+s.dir)
	if code := p.cmd.ProcessState.ExitCode(); code != exitRefused && code != exitFailed { // sooner or later
		t.Errorf("exit code %d", code)
	}

	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	filler.Close()
	s.serve(t).ready(s)
	var page struct{ Events []stateEvent }
	s.get(t, "/events?after=0&limit=10000", &page)
	occupied := map[string]bool{}
	for _, e := range page.Events {
		if e.Type == "occupied" {
			occupied[e.Channel] = true
		}
	}
	for _, c := range append(confirmed, [][]byte{nil, []byte("chat:first")}) {
		if !occupied[string(c[1])] {
			t.Errorf("%s was confirmed and is forgotten", c[1])
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
