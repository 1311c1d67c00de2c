package memnet

import (
	"sync"
	"time"
)

// deadline is an instant after which calls that wait give up. The lock of its owner guards it.
type deadline struct {
	at    time.Time
	timer *time.Timer
	due   time.Time // when the timer fires; zero: it does not
}

// set moves the deadline; the zero time takes it away. cond is woken when it passes, and has the owner's lock.
//
// Most deadlines are moved on before they pass, with every call. So a timer that fires too early is left alone, and looks
// then how long there is still to wait.
func (d *deadline) set(at time.Time, cond *sync.Cond) {
	d.at = at
	switch {
	case at.IsZero():
	case d.passed():
		cond.Broadcast()
	case d.due.IsZero() || at.Before(d.due):
		d.arm(cond)
	}
}

// arm has the timer fire when the deadline passes.
func (d *deadline) arm(cond *sync.Cond) {
	d.due = d.at
	wait := time.Until(d.at)
	if d.timer != nil {
		d.timer.Reset(wait)
		return
	}
	d.timer = time.AfterFunc(wait, func() {
		// Taking the lock orders this after the check of a caller that is about to wait.
		cond.L.Lock()
		defer cond.L.Unlock()
		d.due = time.Time{}
		switch {
		case d.passed():
			cond.Broadcast()
		case !d.at.IsZero():
			d.arm(cond)
		}
	})
}

// passed says whether calls should give up now.
func (d *deadline) passed() bool { return !d.at.IsZero() && time.Until(d.at) <= 0 }

// stop ends it: it is not set again.
func (d *deadline) stop() {
	d.at = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}
