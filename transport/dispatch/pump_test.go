package dispatch

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// driver plays log and sink for a pump, one decision of rapid at a time, and checks every step.
type driver struct {
	t         *rapid.T
	limits    limits
	now       time.Time
	log       []Event // log[i].Seq == i+1
	unwanted  map[uint64]bool
	pump      *pump
	flying    map[int][]Event
	commit    uint64 // in flight; 0: none
	logged    uint64 // the cursor in the log
	accepted  map[uint64]bool
	perName   map[string][]uint64 // first acceptances, in order
	attempted map[string]uint64   // highest seq of a channel ever sent
}

func (d *driver) append(t *rapid.T) {
	seq := uint64(len(d.log) + 1)
	d.log = append(d.log, Event{Seq: seq, App: "demo", Channel: fmt.Sprint("c", rapid.IntRange(0, 6).Draw(t, "channel"))})
	if rapid.IntRange(0, 3).Draw(t, "wanted") == 0 {
		d.unwanted[seq] = true
	}
}

func (d *driver) read(t *rapid.T) {
	n := min(d.pump.room(), rapid.IntRange(0, 5).Draw(t, "n"))
	for _, e := range d.log[d.pump.position():] {
		if n--; n < 0 || e.Seq > d.pump.reach() {
			break
		}
		if d.unwanted[e.Seq] {
			d.pump.drop(e.Seq)
		} else {
			d.pump.take(d.now, e)
		}
	}
}

func (d *driver) start(t *rapid.T) {
	lane, batch, ok := d.pump.next(d.now)
	if !ok {
		return
	}
	if last := batch[len(batch)-1].Seq; last > d.logged+d.limits.reach {
		t.Fatalf("seq %d is sent while the cursor is %d", last, d.logged)
	}
	if len(batch) == 0 || len(batch) > d.limits.batch {
		t.Fatalf("batch of %d events", len(batch))
	}
	if d.flying[lane] != nil {
		t.Fatalf("lane %d has two requests in flight", lane)
	}
	for other, events := range d.flying {
		for _, e := range batch {
			if slices.ContainsFunc(events, func(o Event) bool { return o.Channel == e.Channel }) {
				t.Fatalf("channel %s is in flight in lanes %d and %d", e.Channel, lane, other)
			}
		}
	}
	d.flying[lane] = slices.Clone(batch)
}

func (d *driver) some(t *rapid.T) (lane int, events []Event, ok bool) {
	lanes := make([]int, 0, len(d.flying))
	for lane := range d.flying {
		lanes = append(lanes, lane)
	}
	if len(lanes) == 0 {
		return 0, nil, false
	}
	slices.Sort(lanes)
	lane = rapid.SampledFrom(lanes).Draw(t, "lane")
	return lane, d.flying[lane], true
}

func (d *driver) deliver(lane int, events []Event) {
	delete(d.flying, lane)
	for _, e := range events {
		if !d.accepted[e.Seq] {
			d.accepted[e.Seq] = true
			d.perName[e.Channel] = append(d.perName[e.Channel], e.Seq)
		}
	}
	d.pump.sent(d.now, lane)
}

func (d *driver) startCommit(t *rapid.T) {
	seq, ok := d.pump.commit(d.now)
	if !ok {
		return
	}
	if d.commit != 0 || seq <= d.logged {
		t.Fatalf("commit of %d with %d in flight and %d logged", seq, d.commit, d.logged)
	}
	d.commit = seq
}

func (d *driver) endCommit(err error) {
	if d.commit == 0 {
		return
	}
	if err == nil {
		d.logged = d.commit
	}
	d.pump.settled(d.now, d.commit, err, 0.5)
	d.commit = 0
}

func (d *driver) restart() {
	d.pump = newPump(d.limits, d.logged)
	d.flying, d.commit = make(map[int][]Event), 0
}

func (d *driver) check(t *rapid.T) {
	for _, cursor := range []uint64{d.pump.prefix.cursor(), d.logged, d.commit} {
		for _, e := range d.log[:cursor] {
			if !d.accepted[e.Seq] && !d.unwanted[e.Seq] {
				t.Fatalf("cursor %d passed seq %d, which nobody accepted", cursor, e.Seq)
			}
		}
	}
	if d.pump.prefix.held() > d.limits.window {
		t.Fatalf("%d events held, window is %d", d.pump.prefix.held(), d.limits.window)
	}
	queued := 0
	for i := range d.pump.lanes {
		queued += len(d.pump.lanes[i].queue)
	}
	if queued > d.pump.prefix.held() {
		t.Fatalf("%d events queued, %d tracked", queued, d.pump.prefix.held())
	}
	for name, seqs := range d.perName {
		if !slices.IsSorted(seqs) {
			t.Fatalf("channel %s first accepted in order %v", name, seqs)
		}
	}
}

// finish lets everything succeed and expects that all of it arrives.
func (d *driver) finish(t *rapid.T) {
	for range 10 * (len(d.log) + 10) {
		d.now = d.now.Add(retryMax)
		d.read(t)
		d.start(t)
		for lane, events := range d.flying {
			d.deliver(lane, events)
		}
		d.startCommit(t)
		d.endCommit(nil)
		d.check(t)
	}
	if d.logged != uint64(len(d.log)) {
		t.Fatalf("cursor ends at %d of %d", d.logged, len(d.log))
	}
	if at := d.pump.wake(); !at.IsZero() {
		t.Fatalf("pump with nothing to do wants to wake at %v", at)
	}
	if d.pump.waiting() || d.pump.inFlight() != 0 {
		t.Fatalf("pump with nothing to do is waiting or in flight")
	}
}

func TestPumpNeverLosesNorReorders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &driver{
			t: t, now: time.Unix(1e9, 0),
			limits: limits{
				lanes:  rapid.IntRange(1, 4).Draw(t, "lanes"),
				batch:  rapid.IntRange(1, 3).Draw(t, "batch"),
				window: rapid.IntRange(1, 12).Draw(t, "window"),
				linger: 5 * time.Millisecond, commitEvery: 100 * time.Millisecond, commitAfter: 5,
				reach: uint64(rapid.IntRange(1, 40).Draw(t, "reach")),
			},
			unwanted: make(map[uint64]bool), accepted: make(map[uint64]bool), perName: make(map[string][]uint64),
		}
		d.restart()
		t.Repeat(map[string]func(*rapid.T){
			"":       d.check,
			"append": d.append,
			"read":   d.read,
			"start":  d.start,
			"accept": func(t *rapid.T) {
				if lane, events, ok := d.some(t); ok {
					d.deliver(lane, events)
				}
			},
			"refuse": func(t *rapid.T) {
				if lane, _, ok := d.some(t); ok {
					delete(d.flying, lane)
					d.pump.failed(d.now, lane, 0.5)
				}
			},
			"accept, answer lost": func(t *rapid.T) {
				if lane, events, ok := d.some(t); ok {
					for _, e := range events {
						if !d.accepted[e.Seq] {
							d.accepted[e.Seq] = true
							d.perName[e.Channel] = append(d.perName[e.Channel], e.Seq)
						}
					}
					delete(d.flying, lane)
					d.pump.failed(d.now, lane, 0.5)
				}
			},
			"commit":       d.startCommit,
			"committed":    func(*rapid.T) { d.endCommit(nil) },
			"not commited": func(*rapid.T) { d.endCommit(errors.New("no leader")) },
			"wait": func(t *rapid.T) {
				d.now = d.now.Add(time.Duration(rapid.Int64Range(1, int64(time.Second)).Draw(t, "ns")))
			},
			"crash": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "crash") == 0 {
					d.restart()
				}
			},
		})
		d.finish(t)
	})
}

// one returns a pump with one lane per channel name used in the tests below, and its clock.
func one() (*pump, time.Time) {
	return newPump(limits{
		lanes: 8, batch: 2, window: 100, linger: 5 * time.Millisecond,
		commitEvery: 100 * time.Millisecond, commitAfter: 10, reach: 1000,
	}, 0), time.Unix(1e9, 0)
}

func TestPumpLingersForABatch(t *testing.T) {
	p, now := one()
	p.take(now, Event{Seq: 1, App: "demo", Channel: "a"})
	if _, _, ok := p.next(now); ok {
		t.Fatal("sent at once a batch that is not full")
	}
	if got, want := p.wake(), now.Add(5*time.Millisecond); !got.Equal(want) {
		t.Fatalf("wake at %v, want %v", got, want)
	}
	p.take(now, Event{Seq: 2, App: "demo", Channel: "a"})
	if _, batch, ok := p.next(now); !ok || len(batch) != 2 {
		t.Fatalf("next = %v, %v; want the full batch", batch, ok)
	}
}

func TestPumpRecoveryWakesOthersButPoisonDoesNot(t *testing.T) {
	p, now := one()
	other := "b"
	for laneOf("demo", other, 8) == laneOf("demo", "a", 8) {
		other += "b"
	}
	p.take(now, Event{Seq: 1, App: "demo", Channel: "a"})
	p.take(now, Event{Seq: 2, App: "demo", Channel: other})
	now = now.Add(time.Second)
	first, _, _ := p.next(now)
	second, _, _ := p.next(now)
	for range 10 { // both fail until they wait for long
		p.failed(now, first, 0.5)
		p.failed(now, second, 0.5)
		now = now.Add(retryMax)
		p.next(now)
		p.next(now)
	}
	p.failed(now, first, 0.5)
	p.sent(now, second)
	if lane, _, ok := p.next(now); !ok || lane != first {
		t.Fatal("a lane that recovered did not wake the one that waits")
	}
	p.failed(now, first, 0.5)
	p.take(now, Event{Seq: 3, App: "demo", Channel: other})
	now = now.Add(time.Second)
	lane, _, ok := p.next(now)
	if !ok || lane != second {
		t.Fatalf("next = %d, %v; want the healthy lane", lane, ok)
	}
	p.sent(now, second)
	if lane, _, ok := p.next(now); ok {
		t.Fatalf("lane %d was woken by one that never failed", lane)
	}
}

func TestPumpCommitsLazily(t *testing.T) {
	p, now := one()
	p.drop(5)
	seq, ok := p.commit(now)
	if !ok && !p.commitAt.IsZero() || ok && seq != 5 {
		t.Fatalf("first commit = %d, %v", seq, ok)
	}
	p.settled(now, seq, nil, 0)
	p.drop(6) // nobody wants it: no hurry
	if _, ok := p.commit(now.Add(500 * time.Millisecond)); ok {
		t.Fatal("hurried to commit what nobody wants")
	}
	if seq, ok := p.commit(p.wake()); !ok || seq != 6 {
		t.Fatalf("commit = %d, %v at the time that wake gave", seq, ok)
	}
	now = now.Add(2 * time.Second)
	p.settled(now, 6, nil, 0)
	p.take(now, Event{Seq: 7, App: "demo", Channel: "a"})
	lane, _, _ := p.next(now.Add(time.Second))
	p.sent(now.Add(50*time.Millisecond), lane)
	if _, ok := p.commit(now.Add(50 * time.Millisecond)); ok {
		t.Fatal("commits more often than it may")
	}
	if seq, ok := p.commit(now.Add(100 * time.Millisecond)); !ok || seq != 7 {
		t.Fatalf("commit = %d, %v after the interval; want 7", seq, ok)
	}
	p.settled(now, 7, nil, 0)
	p.drop(17)
	if seq, ok := p.commit(now); !ok || seq != 17 {
		t.Fatalf("commit = %d, %v after many events; want 17", seq, ok)
	}
}
