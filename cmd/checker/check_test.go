package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ev makes an event of channel a; ends marks a vacated.
func ev(seq, ends uint64) Event { return of("a", seq, ends) }

func of(channel string, seq, ends uint64) Event {
	e := Event{ID: fmt.Sprint("c1-", seq), Seq: seq, App: "demo", Channel: channel, Type: occupied, TimeMs: int64(seq), Ends: ends}
	if ends != 0 {
		e.Type = vacated
	}
	return e
}

// with changes an event.
func with(e Event, change func(*Event)) Event { change(&e); return e }

func TestPlantedViolationsAreFound(t *testing.T) {
	for _, test := range []struct {
		name     string
		receipts []Event
		promise  string
		want     string
	}{
		{"occupied twice", []Event{ev(1, 0), ev(2, 0)}, "G1", "occupied 2 (id c1-2) follows occupied 1 (id c1-1); a vacated is missing"},
		{"vacated twice", []Event{ev(1, 0), ev(2, 1), ev(3, 1)}, "G1", "vacated 3 (id c1-3) follows vacated 2"},
		{"vacated ends the wrong one", []Event{ev(1, 0), ev(2, 1), ev(3, 0), ev(4, 1)}, "G1", "ends 1, but the channel's occupied is 3"},
		{"vacated ends another channel's", []Event{of("b", 1, 0), ev(2, 0), ev(3, 1)}, "G1", "ends 1, but the channel's occupied is 2"},
		{"vacated without occupied", []Event{of("b", 1, 0), ev(3, 2)}, "G1", "ends 2, which was never received"},
		{"vacated that ends nothing", []Event{of("b", 1, 0), with(ev(3, 2), func(e *Event) { e.Ends = 0 })}, "G1", "ends 0"},
		{"occupied that ends something", []Event{ev(1, 0), ev(2, 1), with(ev(3, 0), func(e *Event) { e.Ends = 1 })}, "G1", "only a vacated ends"},
		{"unknown type", []Event{with(ev(1, 0), func(e *Event) { e.Type = "opened" })}, "G1", "unknown type"},
		{"one id for two events", []Event{ev(1, 0), with(ev(2, 1), func(e *Event) { e.ID = "c1-1" })}, "G1", "id c1-1 came as"},
		{"a resend with another time", []Event{ev(1, 0), with(ev(1, 0), func(e *Event) { e.TimeMs = 9 })}, "G1", "id c1-1 came as"},
		{"a resend under another id", []Event{ev(1, 0), with(ev(1, 0), func(e *Event) { e.ID = "x" })}, "G4", "repeats occupied 1 (id c1-1) of channel \"a\" under another id"},
		{"a channel out of order", []Event{ev(2, 1), ev(1, 0)}, "G4", "occupied 1 (id c1-1) was first received (as number 2) behind vacated 2"},
	} {
		got := Check(test.receipts)
		if len(got) == 0 || !slices.ContainsFunc(got, func(v Violation) bool {
			return v.Promise == test.promise && strings.Contains(v.String(), test.want)
		}) {
			t.Errorf("%s: found %v, want %s %q", test.name, got, test.promise, test.want)
		}
	}
}

func TestWhatIsAllowed(t *testing.T) {
	for name, receipts := range map[string][]Event{
		"nothing":                {},
		"one life":               {ev(1, 0), ev(2, 1)},
		"resends, also late":     {ev(1, 0), ev(1, 0), ev(2, 1), ev(1, 0), ev(2, 1)},
		"channels out of step":   {of("b", 5, 0), ev(1, 0), of("b", 6, 5), ev(2, 1)},
		"began in mid life":      {ev(7, 3), ev(8, 0)},
		"same name, another app": {ev(1, 0), with(ev(2, 0), func(e *Event) { e.App = "other" })},
	} {
		if got := Check(receipts); len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestComplete(t *testing.T) {
	log := []Event{ev(1, 0), of("b", 2, 0), ev(3, 1), of("game", 4, 0)}
	wanted := func(e Event) bool { return e.Channel != "game" }
	for _, test := range []struct {
		name     string
		receipts []Event
		want     string // "" is none
	}{
		{"all", []Event{ev(1, 0), ev(3, 1), of("b", 2, 0), ev(1, 0)}, ""},
		{"a pair lost whole", []Event{of("b", 2, 0)}, "occupied 1 (id c1-1) is in the log and was never received"},
		{"not asked for", []Event{ev(1, 0), ev(3, 1), of("b", 2, 0), of("game", 4, 0)}, "is not among the log's events"},
		{"changed on the way", []Event{ev(1, 0), ev(3, 1), with(of("b", 2, 0), func(e *Event) { e.TimeMs = 9 })}, "the log has"},
	} {
		got := fmt.Sprint(Complete(test.receipts, log, wanted))
		if test.want == "" && got != "[]" || !strings.Contains(got, test.want) {
			t.Errorf("%s: %s, want %q", test.name, got, test.want)
		}
	}
}

// Any history that keeps the promises passes, and dropping, swapping or renaming one event of it does not.
func TestOneFaultInAGoodHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log []Event
		last := make(map[string]Event)
		for seq := range uint64(rapid.IntRange(8, 60).Draw(t, "events")) {
			channel := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "channel"))
			e := of(channel, seq+1, 0)
			if b := last[channel]; b.Type == occupied {
				e = of(channel, seq+1, b.Seq)
			}
			last[channel] = e
			log = append(log, e)
		}
		shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		receipts := lanes(log, shuffle)
		if got := Check(receipts); len(got) > 0 {
			t.Fatalf("good history: %v", got)
		}
		i := rapid.IntRange(0, len(log)-1).Draw(t, "which")
		hit := log[i]
		without := slices.DeleteFunc(slices.Clone(receipts), func(e Event) bool { return e.ID == hit.ID })
		all := func(Event) bool { return true }
		if len(Complete(without, log, all)) == 0 {
			t.Fatalf("lost %v: not found", hit)
		}
		if last[hit.Channel] != hit && len(Alternation(append(without, log[0]))) == 0 && hit != log[0] {
			t.Fatalf("lost %v from the middle: not found", hit)
		}
		renamed := append(slices.Clone(receipts), with(hit, func(e *Event) { e.ID = "x" }))
		if len(Check(renamed)) == 0 {
			t.Fatalf("%v again under another id: not found", hit)
		}
	})
}

// lanes is the log as a receiver may see it: in order per channel, else in any order, some of it twice.
func lanes(log []Event, r *rand.Rand) []Event {
	queues := make(map[string][]Event)
	for _, e := range log {
		queues[e.Channel] = append(queues[e.Channel], e)
	}
	var out []Event
	for len(queues) > 0 {
		for _, c := range []string{"0", "1", "2", "3"} {
			q := queues[c]
			if len(q) == 0 {
				delete(queues, c)
				continue
			}
			n := r.IntN(len(q) + 1)
			out = append(out, q[:n]...)
			if again := r.IntN(n + 1); r.IntN(2) == 0 {
				out = append(out, q[n-again:n]...)
			}
			queues[c] = q[n:]
		}
	}
	return out
}

func TestRead(t *testing.T) {
	record := `{"received_ms":1,"answer":"ok","batch":{"app":"demo","rule":"state","events":[{"id":"c1-1","seq":1,"app":"demo","channel":"a","type":"occupied","time_ms":1}]}}
{"received_ms":2,"answer":"500","batch":{"events":[{"id":"c1-2","seq":2,"app":"demo","channel":"a","type":"vacated","time_ms":2,"ends":1}]}}
`
	got, err := Read(strings.NewReader(record))
	if err != nil || !slices.Equal(got, []Event{ev(1, 0), ev(2, 1)}) {
		t.Errorf("Read = %v, %v", got, err)
	}
	for bad, want := range map[string]string{
		"{":          "line 1",
		`{"x":1}`:    "line 1: no batch",
		record + "!": "line 3",
		`{"batch":{"events":[{"channel":"a","type":"occupied","time_ms":1}]}}`: "has no id or seq",
	} {
		if _, err := Read(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Read(%q): %v, want %q", bad, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"batch":{"events":[{"id":"c1-1","seq":1,"app":"demo","channel":"a","type":"occupied","time_ms":1}]}}`))
	f.Add([]byte("{\"batch\":{}}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if events, err := Read(strings.NewReader(string(b))); err == nil {
			Check(events)
		}
	})
}
