package sim

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// t0 is when the histories of these tests begin.
var t0 = time.UnixMilli(1_000_000_000)

func sec(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }

func ms(s float64) int64 { return sec(s).UnixMilli() }

// clean is a history without a flaw. The vacate delay is 5 s.
//
//	room: client 0 holds it on node 0 from 1 to 10, client 1 on node 1 from 20 on; node 0 dies at 30
//	hall: client 0 holds it on node 0 from 2, returns on node 1 after the death at 31
func clean() *History {
	log := []Event{
		{ID: "c-1", Seq: 1, App: "demo", Channel: "room", Type: Occupied, TimeMs: ms(1)},
		{ID: "c-2", Seq: 2, App: "demo", Channel: "hall", Type: Occupied, TimeMs: ms(2)},
		{ID: "c-3", Seq: 3, App: "demo", Channel: "room", Type: Vacated, TimeMs: ms(15), Ends: 1},
		{ID: "c-4", Seq: 4, App: "demo", Channel: "room", Type: Occupied, TimeMs: ms(20)},
	}
	plain := slices.Clone(log) // as a format without ids spells them
	for i, e := range plain {
		plain[i] = Event{Channel: e.Channel, Type: e.Type, TimeMs: e.TimeMs}
	}
	all := Subscribe | Publish
	return &History{
		Logs: [][]Event{log[:3:3], log},
		Attachments: []Attachment{
			{Client: 0, Node: 0, Channel: "room", Modes: all, Asked: sec(0.9), Confirmed: sec(1.1), Left: sec(10), Why: "detach"},
			{Client: 0, Node: 0, Channel: "hall", Modes: all, Asked: sec(1.9), Confirmed: sec(2.1), Left: sec(30.1), Why: "reset"},
			{Client: 1, Node: 1, Channel: "room", Modes: all, Asked: sec(19.9), Confirmed: sec(20.1)},
			{Client: 0, Node: 1, Channel: "hall", Modes: all, Asked: sec(30.9), Confirmed: sec(31)},
			{Client: 2, Node: 1, Channel: "hall", Modes: Publish, Asked: sec(33), Confirmed: sec(33)},
			{Client: 3, Node: 1, Channel: "hall", Modes: all, Asked: sec(33)},
		},
		Outages: []Outage{{Node: 0, Client: -1, Kind: Dead, From: sec(30)}},
		Receipts: []Receipt{
			{At: sec(1.2), Rule: "seqs", Events: log[:2]},
			{At: sec(2.2), Rule: "seqs", Events: log[:2], Accepted: true},
			{At: sec(3), Rule: "seqs", Events: log[:2], Accepted: true},
			{At: sec(21), Rule: "seqs", Events: log[1:], Accepted: true},
			{At: sec(21), Rule: "plain", Events: plain, Accepted: true},
		},
		Messages: []Message{
			{Client: 0, Number: 1, Conn: "x", Channel: "room", Asked: sec(21), Acked: sec(21.1), Serial: "s1"},
			{Client: 0, Number: 2, Conn: "x", Channel: "room", Asked: sec(22), Acked: sec(22.1), Serial: "s2"},
			{Client: 0, Number: 3, Conn: "x", Channel: "room", Asked: sec(23), Refused: "busy"},
		},
		Listenings: []*Listening{{Client: 1, Channel: "room", From: sec(20.1), Heard: []Heard{
			{Client: 0, Number: 1, Serial: "s1", At: sec(21.1)}, {Client: 0, Number: 2, Serial: "s2", At: sec(22.1)},
		}}},
		Snapshots: []Snapshot{
			{Asked: sec(0.5), At: sec(1.5), AsOf: 0},
			{Asked: sec(2.5), At: sec(3), AsOf: 2, Channels: []Holding{{"hall", ms(2), 2}, {"room", ms(1), 1}}},
			{Asked: sec(15.5), At: sec(16), AsOf: 3, Channels: []Holding{{"hall", ms(2), 2}}},
		},
		Counts: []Count{
			{At: sec(3), Node: 0, Channel: "hall", Metrics: map[string]int{"connections": 7}},
			{At: sec(62), Node: 1, Channel: "hall", Metrics: map[string]int{"connections": 2, "publishers": 2, "subscribers": 1}},
			{At: sec(62), Node: 1, Channel: "attic", Metrics: map[string]int{"connections": 0}},
		},
		Claims: []Claim{
			{At: sec(0), Node: 0, Boot: "a", Partition: 1, Epoch: 1},
			{At: sec(0), Node: 1, Boot: "b", Partition: 2, Epoch: 1},
			{At: sec(31), Node: 1, Boot: "b", Partition: 1, Epoch: 2},
		},
		Wanted: map[int][]Want{0: {{"hall", all}}, 1: {{"room", all}}},
		Rules: map[string]Rule{
			"seqs":  {ID: "seqs", Match: func(string) bool { return true }},
			"plain": {ID: "plain", Match: func(string) bool { return true }},
			"none":  {ID: "none", Match: func(string) bool { return false }},
		},
		Delay: func(string) time.Duration { return 5 * time.Second },
		Holds: func(_ string, m Mode) bool { return m&Subscribe != 0 },
		Quiet: sec(60), End: sec(70),
	}
}

func TestCleanHistoryPasses(t *testing.T) {
	for _, v := range Check(clean()) {
		t.Error(v)
	}
}

func TestPlantedViolations(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(h *History, log []Event) []Event // changes the history, returns the log
		want  string                                // start of one violation, up to a "…" any text may stand between
	}{
		{"a seq is missing", func(h *History, log []Event) []Event {
			return slices.Delete(log, 1, 2)
		}, "G1: room: seq 3 follows 1"},
		{"an id comes twice", func(h *History, log []Event) []Event {
			log[3].ID = "c-1"
			return log
		}, "G1: room: event 4 has the id \"c-1\" of event 1"},
		{"no id", func(h *History, log []Event) []Event {
			log[0].ID = ""
			return log
		}, "G1: room: event 1 has the id \"\""},
		{"occupied twice", func(h *History, log []Event) []Event {
			log[2] = Event{ID: "c-3", Seq: 3, App: "demo", Channel: "hall", Type: Occupied, TimeMs: ms(15)}
			return log
		}, "G1: hall: occupied 3 follows occupied 2"},
		{"vacated first", func(h *History, log []Event) []Event {
			log[0].Type = Vacated
			return log
		}, "G1: room: vacated 1 without"},
		{"vacated ends another", func(h *History, log []Event) []Event {
			log[2].Ends = 2
			return log
		}, "G1: room: vacated 3 says that it ends 2"},
		{"occupied ends something", func(h *History, log []Event) []Event {
			log[3].Ends = 3
			return log
		}, "G1: room: occupied 4 says that it ends 3"},
		{"unknown type", func(h *History, log []Event) []Event {
			log[3].Type = "opened"
			return log
		}, "G1: room: event 4 has the unknown type"},
		{"vacated before the delay", func(h *History, log []Event) []Event {
			log[2].TimeMs = ms(5)
			return log
		}, "G1: room: vacated 3 comes 4s after"},
		{"two nodes tell two histories", func(h *History, log []Event) []Event {
			h.Logs[0] = slices.Clone(h.Logs[0])
			h.Logs[0][2].TimeMs++
			return log
		}, "G1: room: event 3 reads"},
		{"confirmed before occupied", func(h *History, log []Event) []Event {
			log[0].TimeMs = ms(1.2)
			return log
		}, "G2: room: client 0 was confirmed"},
		{"confirmed in an empty time", func(h *History, log []Event) []Event {
			h.Attachments[2].Asked, h.Attachments[2].Confirmed = sec(17), sec(18)
			return log
		}, "G2: room: client 1 was confirmed"},
		{"occupied lost", func(h *History, log []Event) []Event {
			return log[:3]
		}, "G2: room: somebody holds it and its last event is vacated 3"},
		{"never occupied", func(h *History, log []Event) []Event {
			h.Attachments = append(h.Attachments, Attachment{Client: 4, Channel: "attic", Modes: Subscribe, Asked: sec(40), Confirmed: sec(41)})
			return log
		}, "G2: attic: somebody holds it and it was never occupied"},
		{"an orphan", func(h *History, log []Event) []Event {
			h.Attachments[2].Left = sec(40)
			return log
		}, "G2: room: nobody has held it for 10s"},
		{"occupied out of nothing", func(h *History, log []Event) []Event {
			return append(log, Event{ID: "c-5", Seq: 5, App: "demo", Channel: "attic", Type: Occupied, TimeMs: ms(20)})
		}, "G2: attic: occupied 5 at"},
		{"vacated under a client", func(h *History, log []Event) []Event {
			h.Attachments[0].Left = sec(16)
			return log
		}, "G3: room: vacated 3 was decided"},
		{"vacated sooner after the last one left than the delay", func(h *History, log []Event) []Event {
			h.Attachments[0].Left = sec(11)
			return log
		}, "G3: room: vacated 3 was decided"},
		{"vacated under clients of a node that is only cut off", func(h *History, log []Event) []Event {
			h.Attachments[0].Left = sec(13)
			h.Outages = append(h.Outages, Outage{Node: 0, Client: -1, Kind: CutOff, From: sec(8), To: sec(28)})
			return log
		}, "G3: room: vacated 3 was decided"},
		{"vacated under clients of a node that paused for a moment", func(h *History, log []Event) []Event {
			h.Attachments[0].Left = sec(13)
			h.Outages = append(h.Outages, Outage{Node: 0, Client: -1, Kind: Silent, From: sec(8), To: sec(9.5)})
			return log
		}, "G3: room: vacated 3 was decided"},
		{"an event is not delivered", func(h *History, log []Event) []Event {
			h.Receipts[3].Accepted = false
			return log
		}, "G4: room: rule seqs: event 3 (vacated"},
		{"a later event overtakes", func(h *History, log []Event) []Event {
			h.Receipts = slices.Insert(h.Receipts, 0, Receipt{At: sec(1), Rule: "seqs", Events: log[2:3], Accepted: true})
			return log
		}, "G4: room: rule seqs: event 3 was delivered … before event 1"},
		{"a resend under another id", func(h *History, log []Event) []Event {
			e := log[0]
			e.ID = "c-9"
			h.Receipts[0].Events = []Event{e}
			return log
		}, "G4: room: rule seqs sent"},
		{"an event out of nothing", func(h *History, log []Event) []Event {
			h.Receipts[4].Events[0].TimeMs++
			return log
		}, "G4: room: rule plain sent"},
		{"an event of another rule", func(h *History, log []Event) []Event {
			h.Receipts[0].Rule = "none"
			return log
		}, "G4: room: rule none sent an event of a channel that it does not match"},
		{"a snapshot misses a channel", func(h *History, log []Event) []Event {
			h.Snapshots[1].Channels = h.Snapshots[1].Channels[:1]
			return log
		}, "G5: room: a snapshot of node 0 as of 2 misses it"},
		{"a snapshot lists one twice", func(h *History, log []Event) []Event {
			h.Snapshots[2].Channels = append(h.Snapshots[2].Channels, Holding{"hall", ms(2), 2})
			return log
		}, "G5: hall: a snapshot of node 0 as of 3 lists it twice"},
		{"a snapshot lists an empty one", func(h *History, log []Event) []Event {
			h.Snapshots[0].Channels = []Holding{{"room", ms(1), 1}}
			return log
		}, "G5: room: a snapshot of node 0 as of 0 lists it, and"},
		{"a snapshot names another occupied", func(h *History, log []Event) []Event {
			h.Snapshots[1].Channels[0].Seq = 1
			return log
		}, "G5: hall: a snapshot of node 0 as of 2 has"},
		{"a snapshot is older than the one before", func(h *History, log []Event) []Event {
			h.Snapshots[2].AsOf, h.Snapshots[2].Channels = 1, []Holding{{"room", ms(1), 1}}
			return log
		}, "G5: a snapshot of node 0 is as of 1, and"},
		{"a snapshot from the future", func(h *History, log []Event) []Event {
			h.Snapshots[0].AsOf = 9
			return log
		}, "G5: a snapshot of node 0 is as of 9"},
		{"a count is off", func(h *History, log []Event) []Event {
			h.Counts[1].Metrics["subscribers"] = 2
			return log
		}, "G6: hall: node 1 says subscribers = 2"},
		{"a count of nothing", func(h *History, log []Event) []Event {
			h.Counts[2].Metrics["connections"] = 1
			return log
		}, "G6: attic: node 1 says connections = 1"},
		{"a negative count", func(h *History, log []Event) []Event {
			h.Counts[0].Metrics["publishers"] = -1
			return log
		}, "G6: hall: node 0 says publishers = -1"},
		{"two owners of one epoch", func(h *History, log []Event) []Event {
			h.Claims[2].Epoch = 1
			return log
		}, "owner: partition 1 at epoch 1 is owned by node 0 (boot a) and by node 1 (boot b)"},
		{"an epoch goes back", func(h *History, log []Event) []Event {
			h.Claims = append(h.Claims, Claim{At: sec(40), Node: 1, Boot: "b", Partition: 1, Epoch: 1})
			return log
		}, "owner: node 1 claims partition 1 at epoch 1 after epoch 2"},
		{"a cut-off node keeps its clients", func(h *History, log []Event) []Event {
			h.Outages = append(h.Outages, Outage{Node: 1, Client: -1, Kind: CutOff, From: sec(40), To: sec(50)})
			return log
		}, "G9: room: node 1 was cut off"},
		{"one is buried alive", func(h *History, log []Event) []Event {
			h.Burials = append(h.Burials, Burial{At: sec(40), Node: 1, By: 0, Boot: "b"})
			return log
		}, "G9: node 1 (boot b) holds a lease at"},
		{"a message is missing", func(h *History, log []Event) []Event {
			h.Listenings[0].Heard = h.Listenings[0].Heard[:1]
			return log
		}, "G7: room: client 1 listens since … never heard message 0/2"},
		{"a message in between is missing", func(h *History, log []Event) []Event {
			h.Listenings[0].To = sec(40)
			h.Listenings[0].Heard = h.Listenings[0].Heard[1:]
			return log
		}, "G7: room: client 1 listened since … not message 0/1 before it"},
		{"a message comes twice", func(h *History, log []Event) []Event {
			h.Listenings[0].Heard = append(h.Listenings[0].Heard, Heard{Client: 0, Number: 1, Serial: "s4"})
			return log
		}, "G7: room: client 1 heard message 0/1 twice"},
		{"serials go back", func(h *History, log []Event) []Event {
			h.Listenings[0].Heard[1].Serial = "s0"
			return log
		}, "G7: room: client 1 heard message 0/2 with serial s0 after s1"},
		{"messages of a connection swap", func(h *History, log []Event) []Event {
			h.Messages[0].Number, h.Messages[1].Number = 2, 1
			h.Listenings[0].Heard[0].Number, h.Listenings[0].Heard[1].Number = 2, 1
			return log
		}, "G7: room: client 1 heard message 0/1 after 0/2 of the same connection"},
		{"a message out of nothing", func(h *History, log []Event) []Event {
			h.Listenings[0].Heard[0].Number = 9
			return log
		}, "G7: room: client 1 heard message 0/9, which nobody published there"},
		{"an acknowledgement without a serial", func(h *History, log []Event) []Event {
			h.Messages[0].Serial = ""
			return log
		}, "G7: room: message 0/1 was acknowledged without a serial"},
		{"a client cannot attach", func(h *History, log []Event) []Event {
			h.Wanted[3] = []Want{{"hall", Subscribe}}
			return log
		}, "settle: hall: client 3 could not attach"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := clean()
			h.Logs[1] = c.plant(h, h.Logs[1])
			found := Check(h)
			head, tail, _ := strings.Cut(c.want, "…")
			if !slices.ContainsFunc(found, func(v Violation) bool {
				return strings.HasPrefix(v.String(), head) && strings.Contains(v.String(), tail)
			}) {
				t.Errorf("want %q, found %v", c.want, found)
			}
		})
	}
}

// What looks like a violation and is none.
func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(h *History)
	}{
		{"the clients of a node that paused for long are counted out", func(h *History) {
			h.Attachments[0].Left = sec(16)
			h.Outages = append(h.Outages, Outage{Node: 0, Client: -1, Kind: Silent, From: sec(5), To: sec(12)})
		}},
		{"word that an attachment is over is held up by a short silence", func(h *History) {
			h.Attachments[0].Left = sec(10.6)
			h.Outages = append(h.Outages, Outage{Node: 0, Client: -1, Kind: Silent, From: sec(9.5), To: sec(10.5)})
		}},
		{"the attachments of a client that is cut off are counted out", func(h *History) {
			h.Attachments[0].Left = sec(16)
			h.Outages = append(h.Outages, Outage{Node: -1, Client: 0, Kind: Silent, From: sec(5), To: sec(18)})
		}},
		{"a cut-off node sends its clients away in time", func(h *History) {
			h.Outages = append(h.Outages, Outage{Node: 0, Client: -1, Kind: CutOff, From: sec(26), To: sec(50)})
		}},
		{"a cut that heals before the lease runs out", func(h *History) {
			h.Outages = append(h.Outages, Outage{Node: 1, Client: -1, Kind: CutOff, From: sec(40), To: sec(43)})
		}},
		{"an attach that waited for a vacated", func(h *History) {
			h.Attachments[2].Asked = sec(14.9)
			h.Attachments[2].Confirmed = sec(15.1)
			h.Logs[1][3].TimeMs = ms(15.05)
			h.Receipts[3].Events[2].TimeMs = ms(15.05)
			h.Receipts[4].Events[3].TimeMs = ms(15.05)
		}},
		{"a message is lost with its owner, which had lost its follower", func(h *History) {
			h.Messages[0].Serial, h.Messages[1].Serial = "1@a:0", "2@b:0"
			h.Listenings[0].Heard = []Heard{{Client: 0, Number: 2, Serial: "2@b:0"}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := clean()
			c.change(h)
			for _, v := range Check(h) {
				t.Error(v)
			}
		})
	}
}

func TestCheckListing(t *testing.T) {
	throughout := map[string]bool{"a": true, "b": true}
	if v := CheckListing([]string{"b", "x", "a"}, throughout); len(v) != 0 {
		t.Error(v)
	}
	if v := CheckListing([]string{"b", "x", "b"}, throughout); len(v) != 2 {
		t.Errorf("want one listed twice and one missing, got %v", v)
	}
}

func TestSureCutsOutDoubt(t *testing.T) {
	h := clean()
	h.Attachments = h.Attachments[2:3] // client 1 on node 1, from 20 to the end at 70
	h.Outages = []Outage{
		{Node: 1, Client: -1, Kind: Silent, From: sec(25), To: sec(30)},  // until 30 and the time to recover
		{Node: 1, Client: -1, Kind: Silent, From: sec(50), To: sec(51)},  // too short to matter
		{Node: 0, Client: -1, Kind: Dead, From: sec(22)},                 // another node
		{Node: 1, Client: -1, Kind: Dead, From: sec(2), To: sec(10)},     // before
		{Node: 1, Client: -1, Kind: CutOff, From: sec(20), To: sec(100)}, // clients hear of it
		{Node: 1, Client: -1, Kind: Dead, From: sec(60), To: sec(64)},    // ends it
	}
	var got []Interval
	for _, i := range Sure(h) {
		got = append(got, Interval{From: i.From, To: i.To})
	}
	want := []Interval{{From: sec(20.1), To: sec(25)}, {From: sec(45), To: sec(60)}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
