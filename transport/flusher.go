package transport

import (
	"errors"
	"os"
	"sync"
	"syscall"
)

// scratchBytes is how much one write carries when it joins several frames. Longer writes gain nothing: the cost of a
// write is in the call.
const scratchBytes = 64 << 10

// flusher is what one goroutine needs to write to sockets: a scratch buffer in which frames are joined, and a write that
// does not wait. Not safe for concurrent use.
type flusher struct {
	scratch []byte // made when first needed
	joined  bool   // the last join used scratch
	encode  []byte // for the caller: a buffer to encode frames in

	// The arguments and results of attempt, which is passed to RawConn.Control without an allocation per call.
	attempt func(fd uintptr)
	buf     []byte
	n       int
	err     error
}

// flushers serves goroutines that flush now and then. It holds only bytes.
var flushers = sync.Pool{New: func() any { return new(flusher) }}

// write tries once to write buf and never waits. A socket that takes nothing now is n == 0 without an error.
//
// It goes by RawConn.Control, not Write: Write prepares the poller for a wait that never comes, which was 4 % of a
// delivery. Control takes no write lock either; the outbox has one writer at a time.
func (f *flusher) write(rc syscall.RawConn, buf []byte) (n int, err error) {
	if f.attempt == nil {
		f.attempt = func(fd uintptr) {
			for {
				f.n, f.err = syscall.Write(int(fd), f.buf)
				if f.err != syscall.EINTR {
					return
				}
			}
		}
	}
	f.buf, f.n, f.err = buf, 0, nil
	err = rc.Control(f.attempt)
	n, f.buf = max(f.n, 0), nil
	switch {
	case err != nil:
		return n, err
	case f.err == nil, errors.Is(f.err, syscall.EAGAIN):
		return n, nil
	}
	return n, os.NewSyscallError("write", f.err)
}

// join takes frames off the front of pending that fit into one write. Several are copied into the scratch buffer, and
// f.joined is set: the result is valid until the next join. A single one is returned as it is.
func (f *flusher) join(pending [][]byte) (buf []byte, taken int) {
	total := len(pending[0])
	taken = 1
	for taken < len(pending) && total+len(pending[taken]) <= scratchBytes {
		total += len(pending[taken])
		taken++
	}
	if f.joined = taken > 1; !f.joined {
		return pending[0], 1
	}
	if f.scratch == nil {
		f.scratch = make([]byte, 0, scratchBytes)
	}
	buf = f.scratch[:0]
	for _, frame := range pending[:taken] {
		buf = append(buf, frame...)
	}
	return buf, taken
}
