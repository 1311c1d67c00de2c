package channel

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var mutable = Settings{VacateDelay: 5 * time.Second, IdleClose: 60 * time.Second, OccupancyInterval: 2 * time.Second, Retention: 2 * time.Minute, Mutable: true}

// publish gives a publish to the state and returns its answer and what gateway A was delivered.
func (st *stand) publish(p Publish) (a *Published, d *Delivery) {
	st.t.Helper()
	p.App, p.Name, p.Req = "app", "room", 7
	for _, e := range st.s.Step(st.now, Input{Kind: InPublish, From: gwB, Publish: &p}, nil) {
		switch m := e.Message.(type) {
		case *Published:
			a = m
		case *Delivery:
			if e.Copy == 0 && e.To == gwA {
				d = m
			}
		}
	}
	return a, d
}

func (st *stand) edit(id string, m Message) (*Published, *Delivery) {
	st.t.Helper()
	return st.publish(Publish{ID: id, ConnID: "conn", Messages: []Message{m}, MaxBytes: 100})
}

func (st *stand) lookup(what LookupWhat, serial string) *HistoryResult {
	st.t.Helper()
	return st.s.Step(st.now, Input{Kind: InLookup, From: gwA, Lookup: &Lookup{What: what, Serial: serial}}, nil)[0].Message.(*HistoryResult)
}

// watched is a stand with a subscriber at gateway A.
func watched(t *testing.T, s Settings) *stand {
	st := newStand(t, s)
	st.step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed)
	return st
}

func text(s string, e *Edit) Message {
	m := Message{Edit: e}
	if s != "" {
		m.Kind, m.Data = StringData, []byte(s)
	}
	return m
}

func TestMessagesAreChanged(t *testing.T) {
	st := watched(t, mutable)
	a, _ := st.publish(Publish{ID: "c:0", ConnID: "c", Messages: []Message{
		{Name: "greeting", ClientID: "alice", Kind: StringData, Data: []byte("hello"), Extras: []byte(`{"a":1}`)}, {Name: "other"},
	}})
	created, serial := st.now.UnixMs, a.Serial+":000"
	st.after(time.Second)
	st.say(gwB, "later", "later")
	st.after(time.Second)

	a, d := st.edit("c:1", text("hi", &Edit{Action: MessageUpdate, Serial: serial, By: "alice", Description: "short", Metadata: []byte(`{"why":"x"}`)}))
	m := d.Messages[0]
	want := Edit{Action: MessageUpdate, Serial: serial, CreatedMs: created, Version: a.Serial + ":000", VersionMs: st.now.UnixMs, By: "alice", Description: "short", Metadata: []byte(`{"why":"x"}`)}
	if m.Name != "greeting" || m.ClientID != "alice" || string(m.Data) != "hi" || string(m.Extras) != `{"a":1}` || !reflect.DeepEqual(*m.Edit, want) {
		t.Errorf("the update is delivered as %+v, %+v", m, m.Edit)
	}
	_, d = st.edit("c:2", text(" there", &Edit{Action: MessageAppend, Serial: serial}))
	if m := d.Messages[0]; string(m.Data) != " there" || string(m.Edit.Whole.Data) != "hi there" || m.Edit.Action != MessageAppend {
		t.Errorf("the append is delivered as %+v, %+v", m, m.Edit)
	}
	_, d = st.edit("c:3", text("!", &Edit{Action: MessageAppend, Serial: serial}))
	if m := d.Messages[0]; string(m.Edit.Whole.Data) != "hi there!" {
		t.Errorf("the second append is delivered as %+v", m.Edit.Whole)
	}

	// As it is now stands where it was.
	if got := texts(st.recall(History{})); got != "hi there! later" {
		t.Errorf("history has %q", got)
	}
	if got := texts(st.recall(History{Backwards: true})); got != "later hi there!" {
		t.Errorf("history has %q backwards", got)
	}
	if got := texts(st.recall(History{Raw: true})); got != "hello later hi  there !" {
		t.Errorf("what was published is %q", got)
	}
	raw := st.recall(History{Raw: true}).Deliveries
	if w := raw[3].Messages[0].Edit.Whole; w == nil || string(w.Data) != "hi there!" {
		t.Errorf("an append told later has %+v", w)
	}
	if r := st.lookup(LookupMessage, serial); string(r.Deliveries[0].Messages[0].Data) != "hi there!" || r.Deliveries[0].Messages[0].Edit.CreatedMs != created {
		t.Errorf("the message is %+v", r.Deliveries[0].Messages[0])
	}
	if got := texts(st.lookup(LookupVersions, serial)); got != "hello hi hi there hi there!" {
		t.Errorf("the versions are %q", got)
	}
	if r := st.lookup(LookupVersions, strings.TrimSuffix(serial, "0")+"1"); len(r.Deliveries) != 1 || r.Deliveries[0].Messages[0].Name != "other" {
		t.Errorf("the other message of the publish has %+v", r.Deliveries)
	}

	st.edit("c:4", text("", &Edit{Action: MessageDelete, Serial: serial}))
	r := st.recall(History{})
	if m := r.Deliveries[0].Messages[0]; m.Edit.Action != MessageDelete || string(m.Data) != "hi there!" || m.ID != "c:4:0" || r.Deliveries[0].Messages[1].Edit != nil {
		t.Errorf("deleted it is %+v, %+v", m, m.Edit)
	}
	if again, d := st.edit("c:4", text("", &Edit{Action: MessageDelete, Serial: serial})); d != nil || again.Refusal != Accepted {
		t.Errorf("said again: %+v, %+v", again, d)
	}
	st.after(mutable.Retention)
	if r := st.lookup(LookupMessage, serial); r.Refusal != NotFound {
		t.Errorf("after the retention: %+v", r)
	}
}

func TestChangesAreRefused(t *testing.T) {
	st := watched(t, mutable)
	a, _ := st.publish(Publish{ID: "c:0", Messages: []Message{{ClientID: "alice", Kind: StringData, Data: []byte("hello")}}})
	serial := a.Serial + ":000"
	_, _ = st.publish(Publish{ID: "c:1", Ephemeral: true, Messages: []Message{{Name: "gone"}}})
	passing := st.s.shown.serial("x") + ":000"
	for name, c := range map[string]struct {
		p    Publish
		want Refusal
	}{
		"another index":     {Publish{Messages: []Message{text("x", &Edit{Action: MessageUpdate, Serial: a.Serial + ":001"})}}, NotFound},
		"another series":    {Publish{Messages: []Message{text("x", &Edit{Action: MessageUpdate, Serial: strings.Replace(serial, "@", "@z", 1)})}}, NotFound},
		"no serial":         {Publish{Messages: []Message{text("x", &Edit{Action: MessageUpdate, Serial: "x"})}}, NotFound},
		"not kept":          {Publish{Messages: []Message{text("x", &Edit{Action: MessageUpdate, Serial: passing})}}, NotFound},
		"another's":         {Publish{OwnOnly: true, Messages: []Message{text("x", &Edit{Action: MessageUpdate, Serial: serial, By: "bob"})}}, NotOwn},
		"own":               {Publish{OwnOnly: true, Messages: []Message{text("x", &Edit{Action: MessageUpdate, Serial: serial, By: "alice"})}}, Accepted},
		"too large":         {Publish{MaxBytes: 8, Messages: []Message{text("abc", &Edit{Action: MessageAppend, Serial: serial})}}, TooLarge},
		"other encoding":    {Publish{Messages: []Message{{Kind: StringData, Data: []byte("1"), Encoding: "json", Edit: &Edit{Action: MessageAppend, Serial: serial}}}}, NotAppendable},
		"binary":            {Publish{Messages: []Message{{Kind: BinaryData, Data: []byte("1"), Edit: &Edit{Action: MessageAppend, Serial: serial}}}}, NotAppendable},
		"annotated nothing": {Publish{Messages: []Message{{Edit: &Edit{Action: Annotate, Type: "a:total.v1", Serial: passing}}}}, NotFound},
	} {
		c.p.ID = "id " + name
		if a, d := st.publish(c.p); a.Refusal != c.want || (d != nil) != (c.want == Accepted) {
			t.Errorf("%s: %+v, delivered %v", name, a, d)
		}
	}
	st = watched(t, keeping)
	serial = st.say(gwB, "id", "x") + ":000"
	if a, _ := st.edit("e", text("x", &Edit{Action: MessageUpdate, Serial: serial})); a.Refusal != NotMutable {
		t.Errorf("where messages do not change: %+v", a)
	}
}

func TestEphemeralIsDeliveredAndNotKept(t *testing.T) {
	st := watched(t, keeping)
	st.say(gwB, "a", "a")
	p := Publish{ID: "e", Ephemeral: true, Messages: []Message{{Kind: StringData, Data: []byte("e")}}}
	first, d := st.publish(p)
	if d == nil || string(d.Messages[0].Data) != "e" {
		t.Fatalf("delivered %+v", d)
	}
	if again, d := st.publish(p); d != nil || again.Serial != first.Serial {
		t.Errorf("said again: %+v, delivered %v", again, d)
	}
	_, next := st.publish(Publish{ID: "b", Messages: []Message{{Kind: StringData, Data: []byte("b")}}})
	if next.Prev != SerialPosition(first.Serial) {
		t.Errorf("what follows comes after %s", next.Prev)
	}
	for _, q := range []History{{}, {Raw: true}, {Backwards: true, Limit: 2}} {
		if got := texts(st.recall(q)); got != "a b" && got != "b a" {
			t.Errorf("kept: %q", got)
		}
	}
	if r := st.recall(History{After: first.Serial, Raw: true}); !r.Complete || texts(r) != "b" {
		t.Errorf("behind it: %q, complete %v", texts(r), r.Complete)
	}
	// While the copy of what came before it is waited for, it waits as well, and what is copied is its id.
	st.now.Growing = 3
	st.wants(Input{Kind: InCopyAll, Stream: 3}, "grow, grow, grow")
	st.now.Stream, st.now.Growing = 3, 0
	st.wants(pubID(gwB, "x"), "copy")
	p.ID = "f"
	effects := st.s.Step(st.now, Input{Kind: InPublish, From: gwB, Publish: &p}, nil)
	if len(effects) != 1 || effects[0].Copy != ToWhole || len(effects[0].Message.(*Delivery).Messages) != 0 {
		t.Fatalf("waiting: %+v", effects)
	}
	effects = st.s.Step(st.now, Input{Kind: InCopied, Stream: 3, Copied: st.s.last}, nil)
	if d := effects[2].Message.(*Delivery); d.ID != "f" || len(d.Messages) != 1 {
		t.Errorf("copied: %+v", effects)
	}
}

func TestAnnotationsAreSummarised(t *testing.T) {
	type note struct {
		typ, name, client string
		count             int64
		away              bool
	}
	for name, c := range map[string]struct {
		notes []note
		want  string
	}{
		"total": {[]note{{typ: "a:total.v1"}, {typ: "a:total.v1", client: "x"}, {typ: "a:total.v1"}, {typ: "a:total.v1", away: true}},
			`{"a:total.v1":{"total":2}}`},
		"flag": {[]note{{typ: "a:flag.v1", client: "x"}, {typ: "a:flag.v1", client: "y"}, {typ: "a:flag.v1", client: "x"}, {typ: "a:flag.v1", client: "x", away: true}},
			`{"a:flag.v1":{"total":1,"clientIds":["y"],"clipped":false}}`},
		"distinct": {[]note{{typ: "a:distinct.v1", name: "👍", client: "x"}, {typ: "a:distinct.v1", name: "❤", client: "x"}, {typ: "a:distinct.v1", name: "👍", client: "y"}, {typ: "a:distinct.v1", name: "👍", client: "y"}},
			`{"a:distinct.v1":{"👍":{"total":2,"clientIds":["x","y"],"clipped":false},"❤":{"total":1,"clientIds":["x"],"clipped":false}}}`},
		"distinct taken away": {[]note{{typ: "a:distinct.v1", name: "👍", client: "x"}, {typ: "a:distinct.v1", name: "❤", client: "x"}, {typ: "a:distinct.v1", name: "👍", client: "x", away: true}, {typ: "a:distinct.v1", name: "👍", client: "z", away: true}},
			`{"a:distinct.v1":{"❤":{"total":1,"clientIds":["x"],"clipped":false}}}`},
		"unique": {[]note{{typ: "a:unique.v1", name: "1", client: "x"}, {typ: "a:unique.v1", name: "2", client: "y"}, {typ: "a:unique.v1", name: "2", client: "x"}},
			`{"a:unique.v1":{"2":{"total":2,"clientIds":["y","x"],"clipped":false}}}`},
		"unique taken away": {[]note{{typ: "a:unique.v1", name: "1", client: "x"}, {typ: "a:unique.v1", name: "2", client: "y"}, {typ: "a:unique.v1", client: "x", away: true}},
			`{"a:unique.v1":{"2":{"total":1,"clientIds":["y"],"clipped":false}}}`},
		"multiple": {[]note{{typ: "a:multiple.v1", name: "1", client: "x"}, {typ: "a:multiple.v1", name: "1", client: "x", count: 9}, {typ: "a:multiple.v1", name: "1", client: "y", count: 5}, {typ: "a:multiple.v1", name: "1", count: 2}, {typ: "a:multiple.v1", name: "1", client: "y", away: true}},
			`{"a:multiple.v1":{"1":{"total":12,"clientIds":{"x":10},"totalUnidentified":2,"clipped":false,"totalClientIds":1}}}`},
		"several types": {[]note{{typ: "b:total.v1"}, {typ: `a"b:flag.v1`, client: "x"}},
			`{"b:total.v1":{"total":1},"a\"b:flag.v1":{"total":1,"clientIds":["x"],"clipped":false}}`},
		"nothing left": {[]note{{typ: "a:total.v1"}, {typ: "a:total.v1", away: true}, {typ: "a:total.v1", away: true}}, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			st := watched(t, mutable)
			serial := st.say(gwB, "id", "x") + ":000"
			last := ""
			for i, n := range c.notes {
				e := &Edit{Action: Annotate, Serial: serial, Type: n.typ, Count: n.count}
				if n.away {
					e.Action = Unannotate
				}
				a, d := st.edit(fmt.Sprint("n", i), Message{Name: n.name, ClientID: n.client, Edit: e})
				if a.Refusal != Accepted {
					t.Fatal(a.Refusal)
				}
				last = string(d.Messages[0].Edit.Summary)
			}
			if last != c.want {
				t.Errorf("summary %s\nwant    %s", last, c.want)
			}
			if got := string(st.recall(History{Raw: true}).Deliveries[1].Messages[0].Edit.Summary); got != c.want {
				t.Errorf("told later: %s", got)
			}
			kept := string(st.lookup(LookupMessage, serial).Deliveries[0].Messages[0].Edit.Summary)
			if kept != c.want && c.want != "{}" {
				t.Errorf("the message has %s", kept)
			}
			if n := len(st.lookup(LookupAnnotations, serial).Deliveries); n != len(c.notes) {
				t.Errorf("%d annotations of %d are listed", n, len(c.notes))
			}
		})
	}
}

func TestLongSummariesAreClipped(t *testing.T) {
	st := watched(t, mutable)
	serial := st.say(gwB, "id", "x") + ":000"
	var summary string
	for i := range summaryClients + 3 {
		_, d := st.edit(fmt.Sprint("n", i), Message{ClientID: fmt.Sprint("client", i), Edit: &Edit{Action: Annotate, Serial: serial, Type: "a:flag.v1"}})
		summary = string(d.Messages[0].Edit.Summary)
	}
	if !strings.Contains(summary, `"total":203`) || !strings.Contains(summary, `"clipped":true`) || strings.Count(summary, "client") != summaryClients+1 {
		t.Errorf("%.200s", summary)
	}
}

func TestSummariesHaveBounds(t *testing.T) {
	var s summary
	for i := range 2 * summaryNames {
		s.take(&Message{Name: fmt.Sprint("n", i), ClientID: "c", Edit: &Edit{Action: Annotate, Type: "a:distinct.v1"}})
		s.take(&Message{ClientID: "c", Edit: &Edit{Action: Annotate, Type: fmt.Sprint("t", i, ":flag.v1")}})
	}
	if n := strings.Count(string(s.text()), `"total"`); n != summaryNames+summaryTypes-1 {
		t.Errorf("%d entries", n)
	}
	s.take(&Message{Name: "n0", ClientID: "c", Edit: &Edit{Action: Unannotate, Type: "a:distinct.v1"}})
	s.take(&Message{Name: "late", ClientID: "c", Edit: &Edit{Action: Annotate, Type: "a:distinct.v1"}})
	if !strings.Contains(string(s.text()), `"late"`) {
		t.Error("what becomes free is not used again")
	}
}

// A summary goes along with every annotation, so large names must not make it large without end.
func TestSummariesHaveBytes(t *testing.T) {
	for _, method := range []string{FlagV1, DistinctV1, UniqueV1, MultipleV1} {
		var s summary
		for i := range 500 {
			long := fmt.Sprint(strings.Repeat("\x01", 1000), i)
			s.take(&Message{Name: fmt.Sprint("few", i%3), ClientID: long, Edit: &Edit{Action: Annotate, Type: "a:" + method}})
			s.take(&Message{Name: long, ClientID: long, Edit: &Edit{Action: Annotate, Type: "b:" + method}})
			s.take(&Message{ClientID: "c", Edit: &Edit{Action: Annotate, Type: fmt.Sprint(i%40, long, ":", method)}})
		}
		b := s.text()
		if !json.Valid(b) || len(b) > 90_000 {
			t.Errorf("%s: %d bytes, valid JSON: %v", method, len(b), json.Valid(b))
		}
		if !strings.Contains(string(b), `"clipped":true`) {
			t.Errorf("%s: nothing is said to be clipped", method)
		}
	}
}

// Whatever was changed and annotated, a successor that has the copy shows the same as the owner did, also when it goes on.
func TestSuccessorKnowsWhatBecameOfMessages(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		settings := mutable
		settings.Retention = time.Duration(rapid.IntRange(1, 60).Draw(rt, "retention")) * time.Second
		st := watched(t, settings)
		st.now.Growing = 3
		copy := newReplica(1, 3, GatewayID{}, Stamp{}, Stamp{})
		var serials []string
		take := func(effects []Effect) (a *Published) {
			for _, e := range effects {
				if e.Copy != 0 {
					part, err := DecodeToHost(AppendToHost(nil, &CopyPart{Stream: 3, App: "app", Name: "room", Old: e.Old, Deliveries: []*Delivery{e.Message.(*Delivery)}}))
					if err != nil {
						rt.Fatal(err)
					}
					copy.add(part.(*CopyPart), settings, st.now.Since, st.now.UnixMs)
				}
				if p, ok := e.Message.(*Published); ok {
					a = p
				}
			}
			return a
		}
		step := 0
		act := func() {
			step++
			p := &Publish{App: "app", Name: "room", Req: 7, ID: fmt.Sprint("id", step)}
			var about string
			if len(serials) > 0 {
				about = rapid.SampledFrom(serials).Draw(rt, "about")
			}
			data := rapid.SampledFrom([]string{"", "a", "bc"}).Draw(rt, "data")
			client := rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "client")
			kind := rapid.SampledFrom([]string{"create", "update", "delete", "append", "append", "note", "unnote", "ephemeral"}).Draw(rt, "kind")
			switch kind {
			case "update":
				p.Messages = []Message{text(data, &Edit{Action: MessageUpdate, Serial: about})}
			case "delete":
				p.Messages = []Message{text(data, &Edit{Action: MessageDelete, Serial: about})}
			case "append":
				p.Messages = []Message{text(data, &Edit{Action: MessageAppend, Serial: about})}
			case "note", "unnote":
				e := &Edit{Action: Annotate, Serial: about, Type: rapid.SampledFrom([]string{"t:total.v1", "t:unique.v1", "t:multiple.v1"}).Draw(rt, "type")}
				if kind == "unnote" {
					e.Action = Unannotate
				}
				p.Messages = []Message{{Name: rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "name"), ClientID: client, Edit: e}}
			default:
				p.Ephemeral = kind == "ephemeral"
				p.Messages = []Message{text(data, nil), text("second", nil)}
			}
			a := take(st.s.Step(st.now, Input{Kind: InPublish, From: gwB, Publish: p}, nil))
			if p.Messages[0].Edit == nil {
				serials = append(serials, a.Serial+":000", a.Serial+":001")
			} else if about == "" && a.Refusal != NotFound {
				rt.Fatalf("a change of nothing: %v", a.Refusal)
			}
		}
		take(st.s.Step(st.now, Input{Kind: InCopyAll, Stream: 3}, nil))
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			act()
			st.after(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "wait")) * time.Millisecond)
		}
		next := NewState("app", "room", st.s.profile, Stamp{})
		copied := copy.channels[replicaKey{"app", "room"}]
		if copied == nil {
			return
		}
		copied.outlive(st.now.Since)
		next.adopt(copied)
		none := func(effects []Effect) (a *Published) {
			a, _ = effects[len(effects)-1].Message.(*Published)
			return a
		}
		st.now.Growing = 0
		for range 5 {
			compare(rt, st, &next, serials)
			step++
			about := ""
			if n := len(serials); n > 0 {
				about = serials[n-1]
			}
			p := Publish{App: "app", Name: "room", ID: fmt.Sprint("id", step), Messages: []Message{text("z", &Edit{Action: MessageAppend, Serial: about})}}
			q := p
			one := none(st.s.Step(st.now, Input{Kind: InPublish, From: gwB, Publish: &p}, nil))
			two := none(next.Step(st.now, Input{Kind: InPublish, From: gwB, Publish: &q}, nil))
			if one.Refusal != two.Refusal {
				rt.Fatalf("a change is answered with %v by the owner and %v by its successor", one.Refusal, two.Refusal)
			}
			st.after(time.Second)
		}
		compare(rt, st, &next, serials)
	})
}

func compare(rt *rapid.T, st *stand, next *State, serials []string) {
	show := func(s *State, in Input) string {
		r := *s.Step(st.now, in, nil)[0].Message.(*HistoryResult)
		out := fmt.Sprint(r.Refusal, r.More)
		for _, d := range r.Deliveries {
			for _, m := range d.Messages {
				out += fmt.Sprintf("\n%s %s %q", m.ID, d.ID, m.Data)
				if m.Edit != nil {
					e := *m.Edit
					if e.Whole != nil {
						out += fmt.Sprintf(" whole %q", e.Whole.Data)
					}
					out += fmt.Sprintf(" %d %s %s %s", e.Action, e.Serial, e.Version, e.Summary)
				}
			}
		}
		return out
	}
	inputs := []Input{{Kind: InHistory, From: gwA, History: &History{}}, {Kind: InHistory, From: gwA, History: &History{Raw: true}}}
	for _, s := range serials {
		for what := LookupMessage; what <= LookupAnnotations; what++ {
			inputs = append(inputs, Input{Kind: InLookup, From: gwA, Lookup: &Lookup{What: what, Serial: s}})
		}
	}
	for _, in := range inputs {
		if one, two := show(&st.s, in), show(next, in); one != two {
			rt.Fatalf("the owner shows %s\nits successor %s", one, two)
		}
	}
}
