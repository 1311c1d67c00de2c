package channel

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oracle knows the truth about one channel: what each gateway holds, what is committed, how long nobody has held it.
// It drives a State through random lives, owners dying included, and judges every effect.
type oracle struct {
	*rapid.T
	s       State
	profile *Profile
	now     Moment

	held    [4]Counts // by gateway, 1..3
	version [4]uint64
	watch   [4]bool
	owed    [4]bool
	told    [4]*Counts // what a watching gateway was last told, nil when it waits for that
	split   [4]bool    // later attachments were told otherwise by their seeds
	anew    [4]bool    // it watches since before its seed: a seed is for new attachments, the others must be told

	committed bool // occupied is in the log
	pending   Kind // proposed and neither committed nor refused
	opened    bool // likewise
	opening   Kind // likewise
	emptyAt   time.Duration
	serial    string
	transits  []Kind
}

func (o *oracle) sum() (c Counts) {
	for _, h := range o.held {
		for i := range c {
			c[i] += h[i]
		}
	}
	return c
}

func (o *oracle) isHeld() bool { return o.sum()[Subscribers] > 0 }

// step applies an input and judges what comes out.
func (o *oracle) step(in Input) {
	for _, e := range o.s.Step(o.now, in, nil) {
		if !o.now.Leased {
			switch m := e.Message.(type) {
			case *Published:
				if m.Refusal == NotOwner {
					continue
				}
			case *QueryResult:
				if m.Refusal == NotOwner {
					continue
				}
			}
			o.Fatalf("without a lease: %s", brief(e))
		}
		o.judge(e)
	}
	if got := o.s.Counts(); got != o.sum() {
		o.Fatalf("counts %v, the sum is %v", got, o.sum())
	}
}

func (o *oracle) judge(e Effect) {
	if e.Propose != 0 {
		o.judgeProposal(e)
		return
	}
	switch m := e.Message.(type) {
	case *Registered:
		if o.isHeld() && (!o.committed || o.pending != 0) {
			o.Fatalf("confirmed before the commit: committed=%v pending=%v", o.committed, o.pending)
		}
		if m.Version != o.version[e.To] || m.Counts != o.sum() {
			o.Fatalf("confirmed v%d %v, want v%d %v", m.Version, m.Counts, o.version[e.To], o.sum())
		}
		if !o.owed[e.To] {
			o.Fatalf("confirmed to %d, which did not ask", e.To)
		}
		o.owed[e.To] = false
		if told := o.told[e.To]; told != nil {
			o.split[e.To] = o.split[e.To] || *told != m.Counts
		} else if !o.anew[e.To] {
			o.told[e.To] = &m.Counts
		}
		o.grows(m.Serial, true)
	case *Occupancy:
		if !o.watch[e.To] {
			o.Fatalf("told %d, which does not watch", e.To)
		}
		if m.Counts != o.sum() {
			o.Fatalf("told %v, the sum is %v", m.Counts, o.sum())
		}
		if told := o.told[e.To]; told != nil && *told == m.Counts && !o.split[e.To] {
			o.Fatalf("told %d %v twice", e.To, m.Counts)
		}
		o.told[e.To], o.split[e.To], o.anew[e.To] = &m.Counts, false, false
	case *Delivery:
		if o.held[e.To][Subscribers] == 0 && !o.watch[e.To] {
			o.Fatalf("delivered to %d without subscribers or watchers", e.To)
		}
	case *Published:
		o.grows(m.Serial, false)
	}
}

func (o *oracle) judgeProposal(e Effect) {
	if e.Propose == Open || e.Propose == Close {
		switch {
		case o.opening != 0:
			o.Fatalf("two proposals at once")
		case o.opened == (e.Propose == Open):
			o.Fatalf("%s: in the log open=%v", kindNames[e.Propose], o.opened)
		case e.Propose == Close && (o.committed || o.isHeld()):
			o.Fatalf("closed: committed=%v held=%v", o.committed, o.isHeld())
		}
		o.opening = e.Propose
		return
	}
	if o.pending != 0 {
		o.Fatalf("two proposals at once")
	}
	if e.TimeMs != o.now.UnixMs {
		o.Fatalf("stamped %d at %d", e.TimeMs, o.now.UnixMs)
	}
	switch {
	case e.Propose == Occupy && (o.committed || !o.isHeld()):
		o.Fatalf("occupied: committed=%v held=%v", o.committed, o.isHeld())
	case e.Propose == Vacate && (!o.committed || o.isHeld()):
		o.Fatalf("false vacated: committed=%v held=%v", o.committed, o.isHeld())
	case e.Propose == Vacate && o.now.Since-o.emptyAt < o.profile.VacateDelay:
		o.Fatalf("vacated %v after it became empty", o.now.Since-o.emptyAt)
	}
	o.pending = e.Propose
}

func (o *oracle) grows(serial string, orEqual bool) {
	if serial < o.serial || serial == o.serial && !orEqual {
		o.Fatalf("serial %s after %s", serial, o.serial)
	}
	o.serial = serial
}

// set changes what a gateway holds and tells the state.
func (o *oracle) set(g Gateway, c Counts, watch, confirm, fresh bool) {
	was := o.isHeld()
	o.held[g] = c
	if was && !o.isHeld() {
		o.emptyAt = o.now.Since
	}
	o.version[g]++
	if fresh || !watch || !o.watch[g] {
		o.told[g], o.split[g], o.anew[g] = nil, false, watch && (fresh || !confirm)
	}
	o.watch[g] = watch
	o.owed[g] = confirm || o.owed[g] && !fresh
	r := &Register{App: "app", Name: "room", Version: o.version[g], Counts: c, Confirm: confirm, Serial: o.serial}
	if watch {
		r.Watchers = 1
	}
	o.step(Input{Kind: InRegister, From: g, Register: r, Fresh: fresh})
}

func (o *oracle) kill(g Gateway) {
	was := o.isHeld()
	o.held[g], o.watch[g], o.owed[g], o.told[g], o.split[g] = Counts{}, false, false, nil, false
	if was && !o.isHeld() {
		o.emptyAt = o.now.Since
	}
	o.step(Input{Kind: InDrop, From: g})
}

// commit lets the log answer.
func (o *oracle) commit() {
	if done := o.opening; done != 0 {
		o.opened, o.opening = done == Open, 0
		o.step(Input{Kind: InCommitted, Done: done})
	}
	switch o.pending {
	case 0:
		return
	case Occupy:
		o.committed = true
	case Vacate:
		o.committed = false
	}
	o.transits = append(o.transits, o.pending)
	o.pending = 0
	o.step(Input{Kind: InCommitted})
}

// move replaces the owner: what was proposed is committed or lost, the new one hears every gateway.
func (o *oracle) move(won bool, grace time.Duration) {
	if o.pending != 0 && won {
		o.committed = o.pending == Occupy
		o.transits = append(o.transits, o.pending)
	}
	if o.opening != 0 && won {
		o.opened = o.opening == Open
	}
	o.pending, o.opening = 0, 0
	o.s = NewState("app", "room", o.profile, Stamp{})
	o.s.Restore(o.now, o.committed, grace)
	if o.opened {
		o.s.RestoreOpen(o.now)
	}
	if !o.isHeld() {
		o.emptyAt = o.now.Since // the delay begins anew
	}
	opened := Input{Kind: InOpened}
	// Whoever holds something says so, and what it saw last; nothing may be said on the way.
	known := false
	for g := gwA; g <= gwC; g++ {
		o.told[g], o.split[g], o.anew[g] = nil, false, o.watch[g]
		if o.held[g] == (Counts{}) && !o.owed[g] {
			continue
		}
		known = true
		r := &Register{App: "app", Name: "room", Version: o.version[g], Counts: o.held[g], Confirm: o.owed[g], Serial: o.serial}
		if o.watch[g] {
			r.Watchers = 1
		}
		if effects := o.s.Step(o.now, Input{Kind: InRegister, From: g, Register: r, Fresh: true}, nil); len(effects) > 0 {
			o.Fatalf("said before everybody was heard: %s", brief(effects[0]))
		}
	}
	if !known {
		o.serial = "" // nobody is left who could tell or compare
	}
	o.step(opened)
}

// pass lets time pass, waking the state whenever it asked to be.
func (o *oracle) pass(d time.Duration) {
	end := o.now.Since + d
	for {
		at := o.s.Wake()
		if at == 0 || at > end {
			break
		}
		o.advance(max(at-o.now.Since, 0))
		o.step(Input{Kind: InTick})
		if again := o.s.Wake(); again != 0 && again <= o.now.Since {
			o.Fatalf("wants to be woken at %v, now is %v", again, o.now.Since)
		}
	}
	o.advance(end - o.now.Since)
}

func (o *oracle) advance(d time.Duration) {
	o.now.Since += d
	o.now.UnixMs += d.Milliseconds()
}

// settleAll lets everything come to rest and checks that no duty is left.
func (o *oracle) settleAll() {
	o.now.Leased = true
	o.pass(leaseRetry)
	for range 4 {
		o.commit()
		o.pass(o.profile.VacateDelay + o.profile.OccupancyInterval + 5*time.Second) // 5 s: more than any grace
	}
	if o.profile.Lifecycle && o.opened != o.s.Open() {
		o.Fatalf("at rest: open=%v, in the log %v", o.s.Open(), o.opened)
	}
	if o.committed != o.isHeld() || o.pending != 0 {
		o.Fatalf("at rest: held=%v, in the log %v, pending %v", o.isHeld(), o.committed, o.pending)
	}
	for g := gwA; g <= gwC; g++ {
		if o.owed[g] {
			o.Fatalf("at rest: gateway %d still waits for its confirmation", g)
		}
		if o.watch[g] && (o.told[g] == nil || *o.told[g] != o.sum() || o.split[g]) {
			o.Fatalf("at rest: gateway %d was told %v (some of it otherwise: %v), the sum is %v", g, o.told[g], o.split[g], o.sum())
		}
	}
	for i, k := range o.transits {
		if want := []Kind{Occupy, Vacate}[i%2]; k != want {
			o.Fatalf("no alternation: %v", o.transits)
		}
	}
}

func TestRandomLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		profile := &Profile{Series: "x", Settings: Settings{
			VacateDelay:       time.Duration(rapid.IntRange(0, 3).Draw(t, "delay")) * time.Second,
			IdleClose:         time.Duration(rapid.IntRange(1, 6).Draw(t, "idle")) * time.Second,
			OccupancyInterval: time.Duration(rapid.IntRange(0, 2).Draw(t, "interval")) * time.Second,
			Lifecycle:         rapid.Bool().Draw(t, "lifecycle"),
		}}
		o := &oracle{
			T: t, profile: profile, s: NewState("app", "room", profile, Stamp{}),
			now: Moment{Since: 1, UnixMs: 1_700_000_000_000, Leased: true},
		}
		gateway := rapid.Map(rapid.IntRange(1, 3), func(i int) Gateway { return Gateway(i) })
		counts := rapid.Custom(func(t *rapid.T) (c Counts) {
			c[Connections] = int32(rapid.IntRange(0, 3).Draw(t, "connections"))
			c[Subscribers] = int32(rapid.IntRange(0, int(c[Connections])).Draw(t, "subscribers"))
			c[Publishers] = int32(rapid.IntRange(0, int(c[Connections])).Draw(t, "publishers"))
			return c
		})
		t.Repeat(map[string]func(*rapid.T){
			"register": func(t *rapid.T) {
				c := counts.Draw(t, "counts")
				watch := c[Connections] > 0 && rapid.Bool().Draw(t, "watch")
				o.set(gateway.Draw(t, "gateway"), c, watch, rapid.Bool().Draw(t, "confirm"), rapid.IntRange(0, 5).Draw(t, "fresh") == 0)
			},
			// One more attachment beside a watcher, which is gone again before its seed is old.
			"visit": func(t *rapid.T) {
				g := gateway.Draw(t, "gateway")
				if !o.watch[g] {
					t.Skip("nobody watches")
				}
				before, with := o.held[g], o.held[g]
				with[Connections]++
				o.set(g, with, true, true, false)
				o.set(g, before, true, false, false)
				if o.pass(profile.OccupancyInterval + 1); o.split[g] && o.now.Leased {
					o.Fatalf("an attachment at gateway %d may be left with its seed; it was told %v", g, o.told[g])
				}
			},
			"leave":  func(t *rapid.T) { o.set(gateway.Draw(t, "gateway"), Counts{}, false, false, false) },
			"die":    func(t *rapid.T) { o.kill(gateway.Draw(t, "gateway")) },
			"commit": func(t *rapid.T) { o.commit() },
			"move": func(t *rapid.T) {
				o.move(rapid.Bool().Draw(t, "won"), time.Duration(rapid.IntRange(0, 4).Draw(t, "grace"))*time.Second)
			},
			"lease":   func(t *rapid.T) { o.now.Leased = !o.now.Leased; o.step(Input{Kind: InTick}) },
			"pass":    func(t *rapid.T) { o.pass(time.Duration(rapid.IntRange(1, 4000).Draw(t, "ms")) * time.Millisecond) },
			"clock":   func(t *rapid.T) { o.now.UnixMs += int64(rapid.IntRange(-5000, 5000).Draw(t, "jump")) },
			"publish": func(t *rapid.T) { o.step(pub(gateway.Draw(t, "gateway"))) },
			"ask":     func(t *rapid.T) { o.step(ask(gateway.Draw(t, "gateway"))) },
		})
		o.settleAll()
		for g := gwA; g <= gwC; g++ {
			o.kill(g)
		}
		o.settleAll()
		o.pass(profile.IdleClose + time.Second)
		o.commit()
		if !o.s.Done() {
			t.Fatalf("an empty channel is not done: %+v", o.s)
		}
	})
}
