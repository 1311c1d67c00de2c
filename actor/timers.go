package actor

import (
	"sync"
	"time"
)

// timers keeps the wake-ups of all actors in one heap under one timer of the runtime.
type timers[M any] struct {
	sys *System[M]

	mu     sync.Mutex
	heap   []wakeup[M] // binary, earliest first; each actor knows its slot
	timer  *time.Timer
	due    time.Duration // what the timer is set to
	armed  bool          // the timer will call fire, or has and fire has not looked at the heap yet
	closed bool

	firing sync.WaitGroup // calls of fire to come or under way
}

type wakeup[M any] struct {
	at time.Duration
	a  *Actor[M]
}

func (t *timers[M]) init(sys *System[M]) { t.sys = sys }

// arm sets or moves the one wake-up of an actor. The caller holds the actor's lock.
func (t *timers[M]) arm(a *Actor[M], at time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if a.slot == 0 {
		t.heap = append(t.heap, wakeup[M]{at, a})
		a.slot = len(t.heap)
		t.up(len(t.heap) - 1)
	} else {
		i := a.slot - 1
		t.heap[i].at = at
		t.up(i)
		t.down(a.slot - 1)
	}
	t.set()
}

// disarm takes back the wake-up of an actor. The caller holds the actor's lock.
func (t *timers[M]) disarm(a *Actor[M]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.slot > 0 {
		t.remove(a.slot - 1)
	}
}

// set makes the timer fire no later than the earliest wake-up.
func (t *timers[M]) set() {
	if len(t.heap) == 0 || t.closed {
		return
	}
	first := t.heap[0].at
	if t.armed {
		if first >= t.due || !t.timer.Stop() {
			return // early enough; or fire is on its way and will look at the heap itself
		}
	} else {
		t.armed = true
		t.firing.Add(1)
	}
	t.due = first
	wait := max(first-t.sys.Now(), 0)
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, t.fire)
	} else {
		t.timer.Reset(wait)
	}
}

// fire wakes every actor that is due and sets the timer to the next.
func (t *timers[M]) fire() {
	defer t.firing.Done()
	now := t.sys.Now()
	var due []*Actor[M]
	t.mu.Lock()
	for len(t.heap) > 0 && t.heap[0].at <= now {
		due = append(due, t.heap[0].a)
		t.remove(0)
	}
	t.armed = false
	t.set()
	t.mu.Unlock()
	// Outside the lock: an actor's lock comes before this one.
	for _, a := range due {
		a.wake()
	}
}

func (t *timers[M]) close() {
	t.mu.Lock()
	t.closed = true
	for i := range t.heap {
		t.heap[i].a.slot = 0
	}
	t.heap = nil
	if t.armed && t.timer.Stop() {
		t.armed = false
		t.firing.Done()
	}
	t.mu.Unlock()
	t.firing.Wait()
}

func (t *timers[M]) remove(i int) {
	last := len(t.heap) - 1
	t.heap[i].a.slot = 0
	if i != last {
		t.heap[i] = t.heap[last]
		t.heap[i].a.slot = i + 1
	}
	t.heap[last] = wakeup[M]{}
	t.heap = t.heap[:last]
	if i != last {
		moved := t.heap[i].a
		t.up(i)
		t.down(moved.slot - 1)
	}
}

func (t *timers[M]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if t.heap[parent].at <= t.heap[i].at {
			return
		}
		t.swap(i, parent)
		i = parent
	}
}

func (t *timers[M]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if r := child + 1; r < len(t.heap) && t.heap[r].at < t.heap[child].at {
			child = r
		}
		if t.heap[i].at <= t.heap[child].at {
			return
		}
		t.swap(i, child)
		i = child
	}
}

func (t *timers[M]) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].a.slot = i + 1
	t.heap[j].a.slot = j + 1
}
