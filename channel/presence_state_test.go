package channel

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// changes is a change of members of connection c1, which have no data.
func changes(from Gateway, serial int64, action PresenceAction, clients ...string) Input {
	c := &PresenceChange{
		App: "app", Name: "room", Req: 100 + uint64(serial), ConnID: "c1", MsgSerial: serial, ID: fmt.Sprintf("c1:%d", serial),
	}
	for _, client := range clients {
		c.Members = append(c.Members, Member{Action: action, ClientID: client})
	}
	return Input{Kind: InPresence, From: from, Presence: c}
}

// holds is a Register of an attachment and of what became of connections.
func holds(from Gateway, version uint64, flags string, list ...Hold) Input {
	in := reg(from, version, 1, 1, flags)
	in.Register.Holds = list
	return in
}

// present is who is there.
func (st *stand) present(want ...string) *stand {
	st.t.Helper()
	var got []string
	for _, m := range st.s.present.all() {
		got = append(got, m.ClientID)
	}
	if !slices.Equal(got, want) {
		st.t.Fatalf("present are %v, want %v", got, want)
	}
	return st
}

// presenceOf is what effects tell of members.
func presenceOf(effects []Effect) (list []Member) {
	for _, e := range effects {
		if d, ok := e.Message.(*Delivery); ok {
			list = append(list, d.Presence...)
		}
	}
	return list
}

// A client takes a leave that nobody said for news only if it is not older than what it knows of the member. The clock of an
// owner may be behind that of the one before, or be set back.
func TestLeavesAreNotOlderThanMembers(t *testing.T) {
	settings := standSettings
	settings.Retention = 2 * time.Minute
	enters := newStand(t, settings).step(reg(gwA, 1, 1, 1, "c"), "occupy").step(committed, "confirm A v1 1/1")
	told := presenceOf(enters.s.Step(enters.now, changes(gwA, 0, Enter, "alice"), nil))
	if len(told) != 1 {
		t.Fatalf("told of %v", told)
	}
	alice, serial := told[0], enters.s.last.serial("x")
	behind := enters.now
	behind.UnixMs -= 400
	here := Hold{ConnID: "c1", RemainMs: 15000, Taken: 1, Whole: true, Members: []Member{{Action: Present, ClientID: "alice", ConnID: "c1", ID: alice.ID}}}

	// next is an owner whose clock is behind, with a copy of the members or without.
	next := func(copied bool) *stand {
		st := newStand(t, settings)
		st.now = behind
		if copied {
			st.s.here().fold(told)
			st.s.present.inherited()
		}
		st.s.Restore(st.now, true, 0)
		in := holds(gwA, 1, "f", here)
		if !copied {
			in.Register.Serial = serial
		}
		st.s.Step(st.now, in, nil)
		st.s.Step(st.now, opened, nil)
		return st.present("alice")
	}
	for name, st := range map[string]*stand{"the clock is set back": enters, "with the copy": next(true), "without a copy": next(false)} {
		for _, how := range []string{"over", "gone", "dead"} {
			s := st.s // no step writes to what another one's members are
			s.present = &presence{members: slices.Clone(st.s.present.members), holds: map[string]*hold{}, bytes: st.s.present.bytes}
			for conn, h := range st.s.present.holds {
				was := *h
				s.present.holds[conn] = &was
			}
			now := behind
			now.Since += 200 * time.Millisecond
			now.UnixMs += 200
			var effects []Effect
			switch how {
			case "over":
				effects = s.Step(now, holds(gwA, 9, "", Hold{ConnID: "c1", State: HoldOver}), nil)
			case "gone": // its gateway knows nobody
				effects = s.Step(now, holds(gwA, 9, "", Hold{ConnID: "c1", RemainMs: 15000, Whole: true}), nil)
			case "dead":
				s.Step(now, drop(gwA), nil)
				if s.present == nil {
					t.Fatalf("%s, %s: nobody is there", name, how)
				}
				s.Step(now, reg(gwB, 1, 1, 1, ""), nil)
				now.Since += 16 * time.Second // and the clock stands still
				effects = s.Step(now, Input{Kind: InTick}, nil)
			}
			left := presenceOf(effects)
			if len(left) != 1 || left[0].Action != Leave || left[0].ClientID != "alice" {
				t.Errorf("%s, %s: told of %+v", name, how, left)
			} else if !left[0].Newer(&alice) {
				t.Errorf("%s, %s: the leave is of %d, the member of %d: clients drop it", name, how, left[0].TimeMs, alice.TimeMs)
			}
		}
	}
}

// Members count as messages of the channel. Nobody is kept from leaving, and what is no news counts for nothing.
func TestChangesOfMembersAreLimited(t *testing.T) {
	settings := standSettings
	settings.MessageRate, settings.Retention = 3, 2*time.Minute
	tooFast := fmt.Sprintf("refused A %d", TooFast)
	fine := []string{"deliver A", "published A"}
	st := newStand(t, settings).step(reg(gwA, 1, 1, 1, "c"), "occupy").step(committed, "confirm A v1 1/1").
		step(changes(gwA, 0, Enter, "a", "b"), fine...).
		step(changes(gwA, 1, Update, "a"), fine...).
		step(changes(gwA, 2, Update, "a"), tooFast).
		step(changes(gwA, 3, Enter, "c", "d", "e", "f"), tooFast).
		step(changes(gwA, 4, Leave, "a"), fine...).
		step(changes(gwA, 5, Leave, "nobody"), "published A").
		step(changes(gwA, 0, Enter, "a", "b"), "published A"). // said again
		present("b")
	again := changes(gwA, 6, Enter, "b")
	again.Presence.Members[0].ID = "c1:0:1"
	one := pub(gwA)
	one.Publish.Messages = make([]Message, 1)
	st.step(again, "published A").step(one, tooFast) // it is what it was, and there is one rate
	st.after(time.Second).step(changes(gwA, 7, Enter, "c", "d", "e"), fine...).present("b", "c", "d", "e")
}

// The members of a channel may take so much and no more, and those who are there may change theirs within it.
func TestMembersAreBoundedInBytes(t *testing.T) {
	st := newStand(t, standSettings).step(reg(gwA, 1, 1, 1, "c"), "occupy").step(committed, "confirm A v1 1/1")
	enter := func(serial int64, client string, size int) Input {
		in := changes(gwA, serial, Enter, client)
		in.Presence.Members[0].Kind, in.Presence.Members[0].Data = BinaryData, bytes.Repeat([]byte{1}, size)
		return in
	}
	fine, tooLarge := []string{"deliver A", "published A"}, fmt.Sprintf("refused A %d", MembersTooLarge)
	const most = membersBytes / 16
	for i := range int64(15) {
		st.step(enter(i, fmt.Sprint("m", i), most), fine...)
	}
	st.step(enter(20, "one more", most), tooLarge).
		step(enter(21, "small", 100), fine...).
		step(enter(22, "m3", most/2), fine...).
		step(enter(23, "one more", most), fine...).
		step(enter(24, "m3", most), tooLarge).
		step(changes(gwA, 25, Leave, "m0"), fine...).
		step(enter(26, "m3", most), fine...)
}

// What a connection asked for and could not be done yet is not done when it has left meanwhile: nobody would ever take those
// members away.
func TestNobodyComesBackWhoHasLeft(t *testing.T) {
	over := Hold{ConnID: "c1", State: HoldOver}
	for name, tc := range map[string]struct {
		meanwhile []Input
		want      []string
		leave     bool // to open
	}{
		"detached":          {[]Input{holds(gwA, 2, "", over)}, nil, false},
		"a new session":     {[]Input{holds(gwA, 2, "f")}, nil, false},
		"nothing is left":   {[]Input{{Kind: InDrop, From: gwA, Fresh: true}}, nil, false},
		"a dead gateway":    {[]Input{drop(gwA)}, nil, false},
		"another's":         {[]Input{holds(gwA, 2, "", Hold{ConnID: "c2", State: HoldOver}), drop(gwB)}, []string{"alice"}, false},
		"detached, unopen":  {[]Input{holds(gwA, 2, "", over)}, nil, true},
		"attached, unopen":  {[]Input{holds(gwA, 2, "")}, []string{"alice"}, true},
		"come back at once": {[]Input{holds(gwA, 2, "", over, Hold{ConnID: "c1", RemainMs: 15000, Whole: true, Members: []Member{{ClientID: "alice", ConnID: "c1", ID: "c1:0:0"}}})}, []string{"alice"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var effects []Effect
			st := newGatedStand(t)
			if !tc.leave {
				st.step(reg(gwA, 1, 1, 1, "c"), "ask").step(leave(Accepted), "occupy").step(committed, "confirm A v1 1/1")
				st.now.Leased = false
			}
			effects = st.s.Step(st.now, changes(gwA, 0, Enter, "alice"), effects)
			for _, in := range tc.meanwhile {
				effects = st.s.Step(st.now, in, effects)
			}
			if tc.leave {
				effects = st.s.Step(st.now, leave(Accepted), effects)
			} else {
				st.now.Leased = true
				effects = st.s.Step(st.after(time.Second).now, Input{Kind: InTick}, effects)
			}
			st.present(tc.want...)
			if len(tc.want) == 0 && st.s.present != nil && len(st.s.present.holds) > 0 {
				t.Errorf("holds are left: %v", st.s.present.holds)
			}
			answers := 0
			for _, e := range effects {
				if p, ok := e.Message.(*Published); ok {
					answers++
					if p.Req != 100 || p.Refusal != Accepted {
						t.Errorf("answered with %+v", p)
					}
				}
			}
			if over := len(tc.meanwhile[0].Register.holdsOrNone()) > 0; over && answers != 1 {
				t.Errorf("%d answers, want one", answers)
			}
		})
	}
}

func (r *Register) holdsOrNone() []Hold {
	if r == nil {
		return nil
	}
	return r.Holds
}
