package main

import (
	"slices"
	"strings"
	"testing"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// An attendee keeps the set as SDKs do, and complains of what must not be.
func TestAttendeeJudges(t *testing.T) {
	attached := func(flags protocol.Flags) *protocol.ProtocolMessage {
		return &protocol.ProtocolMessage{Action: protocol.ActionAttached, Channel: "c", Flags: flags}
	}
	of := func(action protocol.Action, serial string, list ...protocol.Message) *protocol.ProtocolMessage {
		return &protocol.ProtocolMessage{Action: action, Channel: "c", ChannelSerial: serial, Presence: list}
	}
	member := func(action channel.PresenceAction, id, data string) protocol.Message {
		return protocol.Message{Action: protocol.MessageAction(action), ID: id, ClientID: "ann", ConnectionID: "x", Data: []byte(data), Timestamp: 7}
	}
	const here = protocol.FlagHasPresence
	for name, c := range map[string]struct {
		frames []*protocol.ProtocolMessage
		sees   []string
		wrong  string // "" when all is well
	}{
		"events": {[]*protocol.ProtocolMessage{attached(0),
			of(protocol.ActionPresence, "1", member(channel.Enter, "x:0:0", "a")), of(protocol.ActionPresence, "2", member(channel.Update, "x:1:0", "b"))}, []string{"ann@x=b"}, ""},
		"an older word": {[]*protocol.ProtocolMessage{attached(0),
			of(protocol.ActionPresence, "1", member(channel.Enter, "x:3:0", "a")), of(protocol.ActionPresence, "2", member(channel.Update, "x:2:0", "b"))}, []string{"ann@x=a"}, ""},
		"she leaves": {[]*protocol.ProtocolMessage{attached(0),
			of(protocol.ActionPresence, "1", member(channel.Enter, "x:0:0", "a")), of(protocol.ActionPresence, "2", member(channel.Leave, "x:1:0", ""))}, nil, ""},
		"she is said to leave": {[]*protocol.ProtocolMessage{attached(0),
			of(protocol.ActionPresence, "1", member(channel.Enter, "x:0:0", "a")), of(protocol.ActionPresence, "2", member(channel.Leave, "~2", ""))}, nil, "saw ann@x leave c"},
		"a sync in two pages": {[]*protocol.ProtocolMessage{attached(here),
			of(protocol.ActionSync, "s:more", member(channel.Present, "x:0:0", "a")), of(protocol.ActionSync, "s:")}, []string{"ann@x=a"}, ""},
		"a sync without her": {[]*protocol.ProtocolMessage{attached(0),
			of(protocol.ActionPresence, "1", member(channel.Enter, "x:0:0", "a")), attached(here), of(protocol.ActionSync, "s:")}, nil, "saw ann@x leave c"},
		"left before her page comes": {[]*protocol.ProtocolMessage{attached(here),
			of(protocol.ActionPresence, "1", member(channel.Leave, "x:5:0", "")), of(protocol.ActionSync, "s:", member(channel.Present, "x:0:0", "a"))}, nil, ""},
		"lost continuity": {[]*protocol.ProtocolMessage{{Action: protocol.ActionAttached, Channel: "c", Error: &protocol.ErrorInfo{Code: 80020}}}, nil, "without continuity"},
		"refused":         {[]*protocol.ProtocolMessage{{Action: protocol.ActionNack, Count: 1}}, nil, "was refused"},
	} {
		t.Run(name, func(t *testing.T) {
			room := &assembly{leaves: map[leaveSeen]string{}}
			a := newAttendee(room, 0, []string{"nowhere"}, []string{"c"})
			ann := newAttendee(room, 1, []string{"nowhere"}, []string{"c"})
			ann.conn = "x"
			ann.rooms["c"].means["ann"] = channel.Member{}
			room.raw = []*attendee{a, ann}
			for _, f := range c.frames {
				a.take(nil, f)
			}
			room.judge()
			var got []string
			for key, m := range a.rooms["c"].members {
				got = append(got, key.String()+"="+string(m.Data))
			}
			if !slices.Equal(got, c.sees) {
				t.Errorf("it sees %q, want %q", got, c.sees)
			}
			if said := strings.Join(room.wrong, "; "); said == "" != (c.wrong == "") || !strings.Contains(said, c.wrong) {
				t.Errorf("it complains %q, want %q", said, c.wrong)
			}
		})
	}
}

// A leave that nobody said is right when the connection is gone, or was for long enough.
func TestLeavesOfTheGone(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*attendee)
		wrong  int
	}{
		"lives":         {func(*attendee) {}, 1},
		"left for good": {func(a *attendee) { a.leave(false) }, 0},
		"was away":      {func(a *attendee) { a.away = remainTime }, 0},
		"is another":    {func(a *attendee) { a.conn = "y" }, 0},
		"changes":       {func(a *attendee) { a.say("c", channel.Member{Action: channel.Update, ClientID: "ann"}) }, 1},
		"has left":      {func(a *attendee) { a.say("c", channel.Member{Action: channel.Leave, ClientID: "ann"}) }, 0},
		"came and went": {func(a *attendee) {
			a.say("c", channel.Member{Action: channel.Leave, ClientID: "ann"})
			a.say("c", channel.Member{Action: channel.Enter, ClientID: "ann"})
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			room := &assembly{leaves: map[leaveSeen]string{}}
			ann := newAttendee(room, 0, []string{"nowhere"}, []string{"c"})
			ann.conn = "x"
			ann.say("c", channel.Member{Action: channel.Enter, ClientID: "ann"})
			room.judge()
			room.raw = []*attendee{ann}
			ann.settle()
			c.change(ann)
			room.sawLeave("bob", "c", memberKey{"ann", "x"})
			if room.judge(); len(room.wrong) != c.wrong {
				t.Errorf("%q, want %d", room.wrong, c.wrong)
			}
		})
	}
}
