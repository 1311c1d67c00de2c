package actor

import (
	"runtime"
	"sync"
	"time"
)

const (
	// A buffer that a burst made larger is left to the collector instead of being kept.
	bufferMax = 1024
	// Empty buffers kept for reuse; with more busy actors than this a few are allocated.
	buffersMax = 256
)

// System runs actors that take messages of one type.
type System[M any] struct {
	start      time.Time // static
	workersMax int       // static
	timers     timers[M] // has a lock of its own

	mu         sync.Mutex // the lock below all others; nothing is called with it held
	head, tail *Actor[M]  // actors that have something to do, in the order they got it
	workers    int
	closed     bool
	buffers    [][]M

	running sync.WaitGroup // workers
}

// NewSystem makes a system with at most workers goroutines; 0 means as many as run in parallel (GOMAXPROCS).
func NewSystem[M any](workers int) *System[M] {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	// The clock starts at 1 ns, so that no instant of it is the zero that means "never".
	s := &System[M]{start: time.Now().Add(-time.Nanosecond), workersMax: workers}
	s.timers.init(s)
	return s
}

// Now is the system's clock: monotonic time since the system was made, always greater than 0.
func (s *System[M]) Now() time.Duration { return time.Since(s.start) }

// At is an instant read with time.Now on the system's clock.
func (s *System[M]) At(t time.Time) time.Duration { return t.Sub(s.start) }

// Close ends all actors and wake-ups and waits for the Receive calls under way. Messages not yet received are lost.
// It must not be called from Receive.
func (s *System[M]) Close() {
	s.mu.Lock()
	s.closed = true
	s.head, s.tail = nil, nil
	s.mu.Unlock()
	s.timers.close()
	s.running.Wait()
}

// schedule puts an actor into the run queue and lends it an empty buffer; false when the system is closed.
func (s *System[M]) schedule(a *Actor[M]) ([]M, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.push(a)
	if s.workers < s.workersMax {
		s.workers++
		s.running.Add(1)
		go s.work()
	}
	n := len(s.buffers)
	if n == 0 {
		return nil, true
	}
	buffer := s.buffers[n-1]
	s.buffers = s.buffers[:n-1]
	return buffer, true
}

// requeue puts an actor that was given new work while it ran at the end of the queue, so that a busy one starves nobody.
// Its caller is a worker, which will go on, so none is started.
func (s *System[M]) requeue(a *Actor[M]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.push(a)
	}
}

func (s *System[M]) push(a *Actor[M]) {
	a.next = nil
	if s.tail == nil {
		s.head = a
	} else {
		s.tail.next = a
	}
	s.tail = a
}

// work runs actors until none has anything to do. It swaps buffers: the queue an actor gave up serves the next one.
func (s *System[M]) work() {
	defer s.running.Done()
	var spare, extra []M
	for {
		a := s.take(extra)
		if a == nil {
			return
		}
		spare, extra = a.turn(spare)
	}
}

// take gives a buffer back and fetches the next actor; nil ends the worker.
func (s *System[M]) take(buffer []M) *Actor[M] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := cap(buffer); c > 0 && c <= bufferMax && len(s.buffers) < buffersMax {
		s.buffers = append(s.buffers, buffer)
	}
	a := s.head
	if a == nil || s.closed {
		s.workers--
		return nil
	}
	s.head = a.next
	if s.head == nil {
		s.tail = nil
	}
	a.next = nil
	return a
}
