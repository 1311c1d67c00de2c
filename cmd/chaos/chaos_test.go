package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"innkeeper/cmd/checker"
)

func TestDraw(t *testing.T) {
	for _, network := range []bool{true, false} {
		faults := draw(7, 10*time.Minute, 7*time.Second, network)
		if !reflect.DeepEqual(faults, draw(7, 10*time.Minute, 7*time.Second, network)) {
			t.Error("the same seed draws another schedule")
		}
		if len(faults) < 60 {
			t.Errorf("%d faults in ten minutes", len(faults))
		}
		got := map[kind]int{}
		last := time.Duration(0)
		for _, f := range faults {
			if f.at < last || f.at >= 10*time.Minute {
				t.Errorf("%s at %v, after one at %v", f.kind, f.at, last)
			}
			last = f.at
			got[f.kind]++
		}
		for _, tr := range traits {
			if possible := network || !tr.network; (got[tr.kind] > 0) != possible {
				t.Errorf("network %v: %d times %s", network, got[tr.kind], tr.kind)
			}
		}
	}
}

// site has n processes that were never started.
func site(n int) *striker {
	ps := &processes{}
	for i := range n {
		ps.procs = append(ps.procs, &proc{index: i, name: string(rune('a' + i)), small: i == n-1})
	}
	return newStriker(ps, nil, true, func(string, ...any) {})
}

func TestAimHurtsAMinority(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		s := site(3 + rng.IntN(5))
		n := len(s.ps.procs)
		var on []*blow
		for range 60 {
			if len(on) > 0 && rng.IntN(2) == 0 {
				s.release(on[0])
				on = on[1:]
			}
			lead := rng.IntN(n+1) - 1
			f := fault{kind: traits[rng.IntN(len(traits))].kind, lead: rng.IntN(2) == 0, pick: rng.IntN(1 << 16)}
			leadFree := lead >= 0 && !s.hurt[lead]
			b := s.aim(f, lead)
			if b == nil {
				continue
			}
			for _, i := range b.nodes {
				if s.hurt[i] {
					t.Fatalf("%s hits a node that is hurt already", f.kind)
				}
				s.hurt[i] = true
			}
			if len(b.nodes) == 0 {
				if s.asleep {
					t.Fatalf("%s while the receiver is in another mood", f.kind)
				}
				s.asleep = true
			}
			on = append(on, b)
			all := len(b.nodes) == n
			if len(b.nodes) == 1 && 2*len(s.hurt) >= n {
				t.Fatalf("%s: %d of %d are hurt", f.kind, len(s.hurt), n)
			}
			if all != (f.kind == powerCut || f.kind == rolling) {
				t.Fatalf("%s hits %v of %d", f.kind, b.nodes, n)
			}
			if f.kind == diskFull && b.nodes[0] != n-1 {
				t.Fatalf("disk full on a node with a large disk")
			}
			if len(b.nodes) == 1 && b.peer == b.nodes[0] {
				t.Fatalf("a pair of one")
			}
			if f.lead && len(b.nodes) == 1 && leadFree && f.kind != diskFull && b.nodes[0] != lead {
				t.Fatalf("%s spares the leader", f.kind)
			}
		}
	}
}

func TestReceiverMoods(t *testing.T) {
	r, err := newReceiver("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	post := func() (int, error) {
		resp, err := http.Post(r.url, "application/json", strings.NewReader(`{"events":[{"id":"c-1","seq":1,"app":"demo","channel":"a","type":"occupied","time_ms":5}]}`))
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		return resp.StatusCode, nil
	}
	if code, err := post(); code != 200 || err != nil {
		t.Errorf("takes: %d, %v", code, err)
	}
	r.answer(fails)
	if code, err := post(); code != 500 || err != nil {
		t.Errorf("fails: %d, %v", code, err)
	}
	r.answer(cuts)
	if _, err := post(); !errors.Is(err, io.EOF) {
		t.Errorf("cuts: %v", err)
	}
	r.answer(hangs)
	done := make(chan int)
	go func() { code, _ := post(); done <- code }()
	if !r.wait(10*time.Second, func(l []event) bool { return len(l) == 3 }) {
		t.Errorf("received %v", r.log())
	}
	r.answer(takes)
	if code := <-done; code != 200 {
		t.Errorf("after hanging: %d", code)
	}
	if l := r.log(); len(l) != 3 || l[0].Seq != 1 || l[0].App != "demo" || l[0].at.IsZero() {
		t.Errorf("received %+v", l)
	}
}

// A session notes what frames tell it, and nothing after its end.
func TestSessionTakes(t *testing.T) {
	w := &witness{}
	s := &session{agent: &agent{id: "x", witness: w}, node: "n1", channels: map[string]*slot{}}
	begin := func(name string) {
		s.channels[name] = &slot{asking: true, seen: w.asked("x", "n1", name, time.UnixMilli(1))}
	}
	begin("a")
	begin("b")
	begin("c")
	s.take(frame{Action: actAttached, Channel: "a"}, time.UnixMilli(2))
	s.take(frame{Action: actAttached, Channel: "a"}, time.UnixMilli(9)) // an update
	s.take(frame{Action: actAttached, Channel: "b"}, time.UnixMilli(3))
	s.take(frame{Action: actDetached, Channel: "b"}, time.UnixMilli(4))
	s.take(frame{Action: actAttached, Channel: "unknown"}, time.UnixMilli(4))
	if held, first := s.forget(time.UnixMilli(5)); !first || !reflect.DeepEqual(held, map[string]time.Time{"a": time.UnixMilli(2)}) {
		t.Errorf("held %v, %v", held, first)
	}
	s.take(frame{Action: actAttached, Channel: "c"}, time.UnixMilli(6))
	if _, first := s.forget(time.UnixMilli(7)); first {
		t.Error("over twice")
	}
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	want := []checker.Attachment{
		{Client: "x", Node: "n1", Channel: "a", Asked: at(1), Confirmed: at(2), Left: at(5)},
		{Client: "x", Node: "n1", Channel: "b", Asked: at(1), Confirmed: at(3), Left: at(4)},
		{Client: "x", Node: "n1", Channel: "c", Asked: at(1), Left: at(5)},
	}
	if got := w.attachments(); !reflect.DeepEqual(got, want) {
		t.Errorf("noted %+v", got)
	}
	if w.held != 0 || len(w.heldLog) != 4 {
		t.Errorf("held %d after %v", w.held, w.heldLog)
	}
}

func TestPulse(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	p := &pulse{skips: []skip{{at(10), time.Second}, {at(20), 3 * time.Second}, {at(30), 2 * time.Second}}}
	for _, test := range []struct {
		from, to int
		want     time.Duration
	}{{0, 5, 0}, {0, 10, time.Second}, {11, 16, 0}, {11, 18, 3 * time.Second}, {21, 40, 2 * time.Second}, {31, 40, 0}} {
		if got := p.worst(at(test.from), at(test.to)); got != test.want {
			t.Errorf("from %d to %d: %v, want %v", test.from, test.to, got, test.want)
		}
	}
}

func TestLastHolder(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	hold := func(asked, confirmed, left int) checker.Attachment {
		a := checker.Attachment{Asked: at(asked), Left: at(left)}
		if confirmed > 0 {
			a.Confirmed = at(confirmed)
		}
		return a
	}
	for name, test := range map[string]struct {
		asks []checker.Attachment
		want int // 0 is unknown
	}{
		"two":                 {[]checker.Attachment{hold(10, 11, 14), hold(12, 13, 13)}, 14},
		"before the occupied": {[]checker.Attachment{hold(1, 2, 9)}, 0},
		"never confirmed":     {[]checker.Attachment{hold(10, 11, 14), hold(12, 0, 16)}, 0},
		"learned it later":    {[]checker.Attachment{hold(10, 11, 14), hold(12, 13, 22)}, 0},
		"came back later":     {[]checker.Attachment{hold(10, 11, 14), hold(21, 22, 23)}, 14},
	} {
		left, ok := lastHolder(test.asks, at(10), at(20))
		if ok != (test.want > 0) || ok && !left.Equal(at(test.want)) {
			t.Errorf("%s: %v, %v", name, left, ok)
		}
	}
}

// A campaign's report tells every violation, and its picture is well formed.
func TestReportAndPicture(t *testing.T) {
	s := site(5)
	s.blows = []*blow{
		{fault: fault{kind: kill}, nodes: []int{1}, wasLead: true, from: time.Unix(105, 0), to: time.Unix(108, 0), ready: time.Unix(109, 0)},
		{fault: fault{kind: hookHangs}, from: time.Unix(110, 0), to: time.Unix(111, 0), ready: time.Unix(111, 0)},
		{fault: fault{kind: cut}, nodes: []int{2}, from: time.Unix(120, 0), to: time.Unix(131, 0), ready: time.Unix(131, 0)},
	}
	e := func(seq uint64, kind string, ends uint64, ms int64) checker.Event {
		return checker.Event{ID: "c-" + string(rune('0'+seq)), Seq: seq, App: "demo", Channel: "c:1", Type: kind, TimeMs: ms, Ends: ends}
	}
	c := &campaign{
		plan: plan{nodes: 5, channels: 240, seed: 9}, ps: s.ps, striker: s, pulse: &pulse{}, recv: &receiver{requests: map[mood]int{takes: 3}},
		began: time.Unix(100, 0), calm: time.Unix(135, 0), ended: time.Unix(140, 0), sdkWhy: "it was not asked for",
		witness:  &witness{sent: []farewell{{time.Unix(123, 0), "c", map[string]time.Time{"c:1": time.Unix(101, 0)}, true}}, heldLog: []sample{{time.Unix(101, 0), 1}}},
		log:      []checker.Event{e(1, "occupied", 0, 101_000), e(2, "vacated", 1, 128_000)},
		receipts: []event{{e(1, "occupied", 0, 101_000), time.Unix(102, 0)}, {e(1, "occupied", 0, 101_000), time.Unix(103, 0)}, {e(2, "vacated", 1, 128_000), time.Unix(129, 0)}},
		found:    []checker.Violation{{Promise: "G3", App: "demo", Channel: "<c:1>", What: "planted"}},
		broken:   []string{"n4 ended by itself"},
		history: &checker.History{Delay: 2 * time.Second, Attachments: []checker.Attachment{
			{Channel: "c:1", Asked: time.Unix(100, 0), Confirmed: time.Unix(101, 0), Left: time.Unix(123, 0)}}},
	}
	text := c.report("x.svg")
	for _, want := range []string{
		"planted", "n4 ended by itself", "| G3 | no vacated while a client surely held the channel | 1 |", "![Timeline](x.svg)",
		"| kill | 1 | 1 | 3s | 1s |", "1 receipts were repeats", "no official SDK (it was not asked for)",
		"| attach asked → confirmed | 1s | 1s | 1s | 1s |", "| last one left, delay over → vacated decided | 3s |",
		"| 20.0 s | cut, 11s | n3 | 1, 1 of them by DISCONNECTED | 3s – 3s | after 8s | 5s |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}
	for d := xml.NewDecoder(bytes.NewReader([]byte(c.picture()))); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
