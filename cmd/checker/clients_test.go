package checker

import (
	"strings"
	"testing"
	"time"
)

// sec is an instant of these histories. The first is far enough from the epoch for events to have a time.
func sec(s float64) time.Time {
	return time.UnixMilli(1e12).Add(time.Duration(s * float64(time.Second)))
}

// say makes an event of channel a, decided at s.
func say(seq, ends uint64, s float64) Event {
	return with(ev(seq, ends), func(e *Event) { e.TimeMs = sec(s).UnixMilli() })
}

// hold is one client's attachment of channel a on node n1: asked, confirmed, left in seconds; 0 is never.
func hold(asked, confirmed, left float64) Attachment {
	at := func(s float64) time.Time {
		if s == 0 {
			return time.Time{}
		}
		return sec(s)
	}
	return Attachment{Client: "c", Node: "n1", Channel: "a", Asked: at(asked), Confirmed: at(confirmed), Left: at(left)}
}

func outage(harm Harm, from, to float64) Outage { return Outage{"n1", harm, sec(from), sec(to)} }

// history has a vacate delay of 2 s and ends at 100 s.
func history(log []Event, as []Attachment, os ...Outage) *History {
	return &History{App: "demo", Log: log, Attachments: as, Outages: os, Delay: 2 * time.Second, End: sec(100)}
}

func TestPlantedViolationsOfClients(t *testing.T) {
	for _, test := range []struct {
		name string
		h    *History
		want string
	}{
		{"confirmed and never occupied", history(nil, []Attachment{hold(1, 1.1, 2)}),
			"G2: app demo, channel \"a\": client c was confirmed by n1"},
		{"confirmed before the occupied", history([]Event{say(1, 0, 1.5), say(2, 1, 5)}, []Attachment{hold(1, 1.1, 2)}),
			"no occupied was decided by then"},
		{"confirmed after the vacated", history([]Event{say(1, 0, 1), say(2, 1, 5)}, []Attachment{hold(1, 1.1, 2), hold(6, 6.1, 7)}),
			"was confirmed by n1 at 01:46:46.100"},
		{"occupied that nobody asked for", history([]Event{say(1, 0, 1), say(2, 1, 5)}, []Attachment{hold(2, 0, 3)}),
			"nobody had asked"},
		{"occupied long after the last one left", history([]Event{say(1, 0, 1), say(2, 1, 4), say(3, 0, 90), say(4, 3, 95)}, []Attachment{hold(1, 1.1, 2)}),
			"G2: app demo, channel \"a\": occupied 3"},
		{"never vacated", history([]Event{say(1, 0, 1)}, []Attachment{hold(1, 1.1, 2)}), "never ended"},
		{"held and vacated", history([]Event{say(1, 0, 1), say(2, 1, 5)}, []Attachment{hold(1, 1.1, 0)}), "1 hold it"},
		{"vacated while held", history([]Event{say(1, 0, 1), say(2, 1, 5)}, []Attachment{hold(1, 1.1, 9)}), "G3: "},
		{"vacated before the delay was over", history([]Event{say(1, 0, 1), say(2, 1, 5)}, []Attachment{hold(1, 1.1, 4)}), "G3: "},
		{"vacated though it came back in time", history([]Event{say(1, 0, 1), say(2, 1, 5)}, []Attachment{hold(1, 1.1, 2), hold(3.5, 3.6, 4.2)}), "G3: "},
		{"another node's death is no excuse", history([]Event{say(1, 0, 1), say(2, 1, 5)}, []Attachment{hold(1, 1.1, 9)}, Outage{"n2", Dead, sec(2), sec(3)}), "G3: "},
		{"nor a pause that was over before", history([]Event{say(1, 0, 1), say(2, 1, 25)}, []Attachment{hold(1, 1.1, 30)}, outage(Paused, .1, .5)), "G3: "},
		{"nor a short pause", history([]Event{say(1, 0, 1), say(2, 1, 25)}, []Attachment{hold(1, 1.1, 30)}, outage(Paused, 10, 11.5)), "G3: "},
		{"nor an earlier process", history([]Event{say(1, 0, 1), say(2, 1, 25)}, []Attachment{hold(1, 1.1, 30)}, outage(Dead, .5, 2)), "G3: "},
		{"sent away too late", history([]Event{say(1, 0, 1), say(2, 1, 20)}, []Attachment{hold(1, 1.1, 18.6)}, outage(Cut, 10, 30)), "G9: "},
	} {
		var got []string
		for _, v := range Judge(test.h) {
			got = append(got, v.String())
		}
		if all := strings.Join(got, "\n"); !strings.Contains(all, test.want) {
			t.Errorf("%s: found %q, want %q", test.name, all, test.want)
		}
	}
}

func TestHistoriesThatKeepThePromises(t *testing.T) {
	life := []Event{say(1, 0, 1.05), say(2, 1, 20)}
	for name, h := range map[string]*History{
		"nothing":                        history(nil, nil),
		"never confirmed":                history(nil, []Attachment{hold(1, 0, 2)}),
		"one life":                       history(life, []Attachment{hold(1, 1.1, 17.9)}),
		"held to the end":                history([]Event{say(1, 0, 1)}, []Attachment{hold(.9, 1.1, 0)}),
		"two clients":                    history(life, []Attachment{hold(1, 1.1, 5), hold(4, 4.1, 17)}),
		"confirmed while being vacated":  history([]Event{say(1, 0, 1), say(2, 1, 5), say(3, 0, 5.2), say(4, 3, 9)}, []Attachment{hold(1, 1.1, 2), hold(5.1, 5.3, 6)}),
		"its node was killed":            history(life, []Attachment{hold(1, 1.1, 19)}, outage(Dead, 15, 25)),
		"its node slept":                 history(life, []Attachment{hold(1, 1.1, 40)}, outage(Paused, 10, 40)),
		"it slept shortly when cut":      history(life, []Attachment{hold(1, 1.1, 18.5)}, outage(Cut, 5, 12), outage(Paused, 14, 15.5)),
		"told when a short sleep ended":  history(life, []Attachment{hold(1, 1.1, 18.4)}, outage(Paused, 16.6, 18.2)),
		"its node was dark":              history(life, []Attachment{hold(1, 1.1, 60)}, outage(Dark, 12, 30)),
		"sent away in time":              history(life, []Attachment{hold(1, 1.1, 15)}, outage(Cut, 11, 30)),
		"asked, and answered by nobody":  history([]Event{say(1, 0, 30), say(2, 1, 33)}, []Attachment{hold(1, 0, 8)}, outage(Paused, .5, 30)),
		"same millisecond as the answer": history([]Event{say(1, 0, 1.1), say(2, 1, 20)}, []Attachment{hold(1, 1.1004, 17)}),
	} {
		if got := Judge(h); len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	busy := history(life, []Attachment{hold(1, 1.1, 18.6)})
	if len(Judge(busy)) == 0 {
		t.Error("half a second late passes")
	}
	busy.Late = func(time.Time) time.Duration { return time.Second }
	if got := Judge(busy); len(got) > 0 {
		t.Errorf("late on a busy machine: %v", got)
	}
}

// received is a history's log with each event received a little later, or at the given second.
func received(h *History, at map[uint64]float64) map[string]time.Time {
	out := make(map[string]time.Time)
	for _, e := range h.Log {
		out[e.ID] = time.UnixMilli(e.TimeMs + 20)
		if s, ok := at[e.Seq]; ok {
			out[e.ID] = sec(s)
		}
	}
	return out
}

func TestLinear(t *testing.T) {
	life := []Event{say(1, 0, 1.05), say(2, 1, 20)}
	for name, h := range map[string]*History{
		"nothing":           history(nil, nil),
		"one life":          history(life, []Attachment{hold(1, 1.1, 17.9), hold(1, 1.2, 3), hold(2, 0, 3)}),
		"two lives":         history([]Event{say(1, 0, 1), say(2, 1, 5), say(3, 0, 5.2), say(4, 3, 9)}, []Attachment{hold(1, 1.1, 2), hold(5.1, 5.3, 6)}),
		"killed with it":    history(life, []Attachment{hold(1, 1.1, 60)}, outage(Dead, 15, 25)),
		"held to the end":   history(life[:1], []Attachment{hold(1, 1.1, 0)}),
		"sent away in time": history(life, []Attachment{hold(1, 1.1, 15)}, outage(Cut, 11, 30)),
		"heard of it late":  history(life, []Attachment{hold(1, 22, 23)}, outage(Paused, 2, 22.5)),
	} {
		if got, unknown := Linear(h, received(h, nil)); len(got) > 0 || unknown > 0 {
			t.Errorf("%s: %v, %d unknown", name, got, unknown)
		}
	}
	for name, h := range map[string]*History{
		"never occupied":         history(nil, []Attachment{hold(1, 1.1, 2)}),
		"confirmed too early":    history([]Event{say(1, 0, 1.5), say(2, 1, 5)}, []Attachment{hold(1, 1.1, 2)}),
		"confirmed when vacated": history([]Event{say(1, 0, 1), say(2, 1, 5)}, []Attachment{hold(1, 1.1, 2), hold(6, 6.1, 7)}),
		"vacated while held":     history(life, []Attachment{hold(1, 1.1, 30)}),
		"while held by another":  history(life, []Attachment{hold(1, 1.1, 3), hold(2, 2.1, 30)}),
		"sent away too late":     history(life, []Attachment{hold(1, 1.1, 30)}, outage(Cut, 10, 30)),
		"occupied twice":         history([]Event{say(1, 0, 1), say(2, 0, 3), say(3, 2, 20)}, []Attachment{hold(1, 1.1, 17)}),
		"ends another":           history([]Event{say(1, 0, 1), say(2, 7, 20)}, []Attachment{hold(1, 1.1, 17)}),
	} {
		if got, _ := Linear(h, received(h, nil)); len(got) != 1 {
			t.Errorf("%s: found %v", name, got)
		}
	}
	// An occupied that is received late may have been decided late.
	h := history([]Event{say(1, 0, 1), say(2, 1, 5), say(3, 0, 8)}, []Attachment{hold(1, 1.1, 2), hold(5.5, 6, 0)})
	if got, _ := Linear(h, received(h, map[uint64]float64{2: 9, 3: 9})); len(got) != 1 {
		t.Errorf("decided after the confirmation: %v", got)
	}
	h.Log[2].TimeMs = sec(5.8).UnixMilli()
	if got, _ := Linear(h, received(h, map[uint64]float64{2: 9, 3: 9})); len(got) > 0 {
		t.Errorf("decided before the confirmation, received late: %v", got)
	}
}

func TestCounts(t *testing.T) {
	h := history(nil, []Attachment{hold(1, 2, 0), hold(1, 2, 0), hold(1, 2, 3), hold(1, 0, 0)})
	for want, said := range map[string]map[string]int{
		"":                         {"a": 2},
		"n1 says that 3 hold it":   {"a": 3},
		"n1 does not know it":      {},
		"says that -1 hold it, an": {"a": 2, "b": -1},
	} {
		got := Counts(h, map[string]map[string]int{"n1": said})
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0].String(), want)) {
			t.Errorf("%v: %v, want %q", said, got, want)
		}
	}
}
