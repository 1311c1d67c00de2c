package memnet

import (
	"sync"
	"time"
)

// deadline is an instant after which calls that wait give up. The lock of its owner guards it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set moves the deadline; the zero time takes it away. cond is woken when it passes.
func (d *deadline) set(at time.Time, cond *sync.Cond) {
	d.at = at
	d.stop()
	if at.IsZero() {
		return
	}
	wait := time.Until(at)
	if wait <= 0 {
		cond.Broadcast()
		return
	}
	if d.timer != nil {
		d.timer.Reset(wait)
		return
	}
	d.timer = time.AfterFunc(wait, func() {
		// Taking the lock orders this after the check of a caller that is about to wait.
		cond.L.Lock()
		defer cond.L.Unlock()
		cond.Broadcast()
	})
}

// passed says whether calls should give up now.
func (d *deadline) passed() bool { return !d.at.IsZero() && time.Until(d.at) <= 0 }

// stop ends the timer; the deadline itself stays.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
