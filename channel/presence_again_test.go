package channel

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What was refused is refused again when it is said again behind what was taken: it is never answered as if it were done,
// nor done out of its turn. The client may have heard neither answer, since its socket broke.
func TestRefusedChangesAreNotAcceptedUndone(t *testing.T) {
	tooMany, overtaken := fmt.Sprintf("refused A %d", TooManyMembers), fmt.Sprintf("refused A %d", Overtaken)
	fine := []string{"deliver A", "published A"}
	for _, retention := range []time.Duration{0, 2 * time.Minute} {
		settings := standSettings
		settings.MembersMax, settings.Retention = 2, retention
		begin := func() *stand {
			return newStand(t, settings).step(reg(gwA, 1, 1, 1, "c"), "occupy").step(committed, "confirm A v1 1/1").
				step(changes(gwA, 1, Enter, "alice", "bob"), fine...)
		}
		begin().
			step(changes(gwA, 2, Enter, "carol"), tooMany).
			step(changes(gwA, 2, Enter, "carol"), tooMany). // nothing was taken behind it: it is looked at anew
			step(changes(gwA, 4, Update, "alice"), fine...).
			step(changes(gwA, 2, Enter, "carol"), overtaken).
			step(changes(gwA, 1, Enter, "alice", "bob"), "published A").
			step(changes(gwA, 4, Update, "alice"), "published A").
			step(changes(gwA, 5, Leave, "bob", "carol"), fine...).
			step(changes(gwA, 2, Enter, "carol"), overtaken). // there is room by now; but she has said that she leaves
			step(changes(gwA, 5, Leave, "bob", "carol"), "published A").
			present("alice").
			step(changes(gwA, 6, Enter, "carol"), fine...).
			step(changes(gwA, 5, Leave, "bob", "carol"), "published A").
			present("alice", "carol")
		// Who refused it may be another: the gateway, for a rate.
		begin().
			step(changes(gwA, 4, Update, "alice"), fine...).
			step(changes(gwA, 3, Leave, "alice", "bob"), overtaken).
			step(changes(gwA, 3, Update, "bob"), overtaken).
			step(changes(gwA, 3, Update, "alice"), "published A"). // what she said later is there
			present("alice", "bob")
		// Members that were taken away did not leave.
		st := begin()
		st.s.Step(st.now, holds(gwA, 2, "", Hold{ConnID: "c1", RemainMs: 15000, Taken: 2, Whole: true}), nil)
		st.present().step(changes(gwA, 1, Enter, "alice", "bob"), overtaken).
			step(changes(gwA, 2, Enter, "alice"), fine...)
	}
}

// The next owner, which knows of the connection from its gateway or from a copy, does not know what was refused.
func TestNextOwnerAcceptsNothingUndone(t *testing.T) {
	settings := standSettings
	settings.MembersMax, settings.Retention = 1, 2*time.Minute
	for _, copied := range []bool{false, true} {
		first := newStand(t, settings).step(reg(gwA, 1, 1, 1, "c"), "occupy").step(committed, "confirm A v1 1/1")
		told := presenceOf(first.s.Step(first.now, changes(gwA, 0, Enter, "alice"), nil))
		first.step(changes(gwA, 1, Enter, "bob"), fmt.Sprintf("refused A %d", TooManyMembers))
		told = append(told, presenceOf(first.s.Step(first.now, changes(gwA, 2, Update, "alice"), nil))...)

		st := newStand(t, settings)
		here := Hold{ConnID: "c1", RemainMs: 15000, Taken: 3, Whole: true, Members: []Member{{Action: Present, ClientID: "alice", ConnID: "c1", ID: "c1:2:0"}}}
		if copied {
			st.s.here().fold(told)
			st.s.present.inherited()
			here.Taken, here.Whole, here.Members = 0, false, nil // the gateway died as well
		}
		st.s.Restore(st.now, true, 0)
		st.s.Step(st.now, holds(gwA, 1, "f", here), nil)
		st.s.Step(st.now, opened, nil)
		st.present("alice").
			step(changes(gwA, 0, Enter, "alice"), "published A").
			step(changes(gwA, 1, Enter, "bob"), fmt.Sprintf("refused A %d", Overtaken)).
			step(changes(gwA, 2, Update, "alice"), "published A").
			step(changes(gwA, 3, Leave, "alice"), "deliver A", "published A").present()
	}
}

// Random clients say what they were not answered again, in its order, whoever had refused it. Whatever was taken is answered as
// before and does nothing; nothing is accepted that is not there and was not taken back.
func TestSaidAgainIsTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		settings := standSettings
		settings.MembersMax, settings.Retention = 3, 2*time.Minute
		s := NewState("app", "room", &Profile{Settings: settings, Series: "x"}, Stamp{})
		now := Moment{Since: time.Second, UnixMs: 1_700_000_000_000, Leased: true}
		step := func(in Input) (told []Member, why Refusal) {
			effects := s.Step(now, in, nil)
			for _, e := range effects {
				if p, ok := e.Message.(*Published); ok {
					why = p.Refusal
				}
			}
			return presenceOf(effects), why
		}
		step(reg(gwA, 1, 1, 1, "c"))
		step(committed)
		type word struct {
			in    Input
			taken bool
		}
		var said []word
		latest := int64(-1) // that was taken
		t.Repeat(map[string]func(*rapid.T){
			"say": func(t *rapid.T) {
				in := changes(gwA, int64(len(said)), Enter)
				for range rapid.IntRange(1, 3).Draw(t, "members") {
					in.Presence.Members = append(in.Presence.Members, Member{
						Action:   rapid.SampledFrom([]PresenceAction{Enter, Update, Leave}).Draw(t, "action"),
						ClientID: fmt.Sprint("m", rapid.IntRange(0, 4).Draw(t, "who")),
					})
				}
				w := word{in: in}
				if !rapid.Bool().Draw(t, "refused by the gateway") {
					_, why := step(in)
					if w.taken = why == Accepted; w.taken {
						latest = in.Presence.MsgSerial
					}
				}
				said = append(said, w)
			},
			"say again": func(t *rapid.T) {
				if len(said) == 0 {
					return
				}
				from := rapid.IntRange(0, len(said)-1).Draw(t, "from")
				for i := range said[from:] {
					w := &said[from+i]
					before := s.present.String()
					told, why := step(w.in)
					if serial := w.in.Presence.MsgSerial; serial > latest {
						if w.taken = why == Accepted; w.taken { // it was never taken, and is looked at anew
							latest = serial
						}
						continue
					}
					if len(told) > 0 || s.present.String() != before {
						t.Fatalf("%s, said again, did %v", w.in.Presence.ID, told)
					}
					if w.taken && why != Accepted {
						t.Fatalf("%s was taken and is refused (%d)", w.in.Presence.ID, why)
					}
					if w.taken || why != Accepted {
						continue
					}
					for _, m := range w.in.Presence.Members {
						_, there := s.present.find("c1", m.ClientID)
						if there == (m.Action != Leave) {
							continue
						}
						later := slices.ContainsFunc(said[from+i:], func(l word) bool {
							return (l.taken || &l.in.Presence.Members[0] == &w.in.Presence.Members[0]) &&
								slices.ContainsFunc(l.in.Presence.Members, func(o Member) bool {
									return o.ClientID == m.ClientID && (o.Action == Leave) != (m.Action == Leave)
								})
						})
						if !later {
							t.Fatalf("%s was not done, is accepted, and %s is there: %v", w.in.Presence.ID, m.ClientID, there)
						}
					}
				}
			},
		})
	})
}
