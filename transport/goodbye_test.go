package transport

import (
	"os"
	"testing"
)

// steppedSocket is a socket whose every write waits to be let through.
type steppedSocket struct {
	file   *os.File
	writes chan chan struct{} // a write has come; closing what is received lets it through
}

func (s *steppedSocket) Write(func(fd uintptr) bool) error { return nil }
func (s *steppedSocket) Read(func(fd uintptr) bool) error  { return nil }
func (s *steppedSocket) Control(fn func(fd uintptr)) error {
	pass := make(chan struct{})
	s.writes <- pass
	<-pass
	fn(s.file.Fd())
	return nil
}

// A connection ends while another goroutine writes to it: the last frame waits for that write, and the end for the last
// frame. Else the socket would be closed in between, and the client never learn why.
func TestDrainedMeansTheLastFrameToo(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	socket := &steppedSocket{w, make(chan chan struct{})}
	c := &conn{g: &Gateway{}, rc: socket}
	c.out.append([]byte("delivery,"), 1000)
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		c.flush(new(flusher))
	}()
	pass := <-socket.writes
	c.out.seal([]byte("goodbye"), false)
	drained := c.out.drained()
	close(pass)
	pass = <-socket.writes
	select {
	case <-drained:
		t.Error("drained while the last frame is still being written")
	default:
	}
	close(pass)
	<-drained
	<-flushed
	b := make([]byte, 100)
	n, _ := r.Read(b)
	if got := string(b[:n]); got != "delivery,goodbye" {
		t.Errorf("sent %q", got)
	}
}
