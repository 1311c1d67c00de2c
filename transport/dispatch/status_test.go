package dispatch

import (
	"testing"
	"testing/synctest"
	"time"
)

// The age of what waits is that of the oldest event that is wanted: it grows while the sink is down, whoever else comes,
// and is gone when all is accepted or this node does not lead.
func TestLagInSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		d := start(t, log, sink, rule())
		lag := func() float64 { return d.Status().Rules[0].LagSeconds }
		now := func() { // the log's events are as old as their seq says
			log.mu.Lock()
			defer log.mu.Unlock()
			log.events[len(log.events)-1].TimeMs = time.Now().UnixMilli()
		}
		sink.set(always(500, ""))
		log.occupy("chat:1")
		now()
		began := time.Now()
		for i := range 10 {
			time.Sleep(7 * time.Second)
			log.occupy(names(3)...)
			now()
			if got := lag(); got < 7*float64(i+1)-0.001 || got > 7*float64(i+1)+0.001 {
				t.Errorf("after %v the lag is %v s", time.Since(began), got)
			}
		}
		d.Lead(false)
		synctest.Wait()
		if got := lag(); got != 0 {
			t.Errorf("without leading the lag is %v s", got)
		}
		sink.set(nil)
		d.Lead(true)
		eventually(t, "all sent", func() bool { return d.Status().Rules[0].Lag == 0 })
		if got := lag(); got != 0 {
			t.Errorf("with all accepted the lag is %v s", got)
		}
	})
}
