package channel

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

// resending keeps ids for longer than messages.
var resending = Settings{VacateDelay: 5 * time.Second, IdleClose: 60 * time.Second, Retention: 2 * time.Minute, Known: 185 * time.Second}

// sayFrom is say for a connection.
func (st *stand) sayFrom(conn, id, text string) string {
	st.t.Helper()
	p := &Publish{App: "app", Name: "room", Req: 7, ConnID: conn, ID: id, Messages: []Message{{Kind: StringData, Data: []byte(text)}}}
	effects := st.s.Step(st.now, Input{Kind: InPublish, From: gwA, Publish: p}, nil)
	a, ok := effects[len(effects)-1].Message.(*Published)
	if !ok || a.Refusal != Accepted {
		st.t.Fatalf("publish answered with %+v", effects)
	}
	return a.Serial
}

// A client that comes back late says again what it published when the messages themselves are not kept any more.
func TestSaidAgainBehindTheRetention(t *testing.T) {
	for _, n := range []int{1, 3 * indexFrom} { // looked up in the list, then in the map
		st := newStand(t, resending)
		first := map[int]string{}
		for i := range n {
			first[i] = st.sayFrom("conn", fmt.Sprint("conn:", i), "x")
		}
		named := st.sayFrom("conn", "chosen", "x")
		rest := st.sayFrom("", "rest", "x")
		st.after(resending.Known - time.Second).tick()
		if r := st.recall(History{}); len(r.Deliveries) > 0 || st.s.past == nil || len(st.s.past.entries) > 0 {
			t.Fatalf("%d messages are kept for longer than the retention", len(r.Deliveries))
		}
		for i, serial := range first {
			if got := st.sayFrom("conn", fmt.Sprint("conn:", i), "x"); got != serial {
				t.Errorf("publish %d of %d was %s, said again it is %s", i, n, serial, got)
			}
			if got := st.sayFrom("other", fmt.Sprint("conn:", i), "x"); got == serial {
				t.Errorf("publish %d of %d is taken for another connection's", i, n)
			}
		}
		if got := st.sayFrom("other", "chosen", "x"); got != named { // whose id it is does not matter
			t.Errorf("the client's own id was %s, said again it is %s", named, got)
		}
		if got := st.sayFrom("", "rest", "x"); got == rest {
			t.Error("a publish that no connection can say again is known for longer than the retention")
		}
	}
	st := newStand(t, resending)
	first := st.sayFrom("conn", "conn:0", "x")
	st.after(resending.Known)
	if st.sayFrom("conn", "conn:0", "x") == first {
		t.Error("known again for longer than Known")
	}
}

// The state wakes up to forget ids, and is then nothing.
func TestKnownIDsExpire(t *testing.T) {
	const slack = 2 * time.Minute / expirySlack
	st := newStand(t, resending)
	st.sayFrom("conn", "conn:0", "x")
	st.after(time.Minute).tick().wakes(time.Minute + slack)
	st.after(time.Minute + slack).tick().wakes(resending.Known - 2*time.Minute)
	if r := st.recall(History{}); len(r.Deliveries) > 0 || st.s.Done() {
		t.Errorf("%d messages, done=%v; want an id alone", len(r.Deliveries), st.s.Done())
	}
	st.after(resending.Known - 2*time.Minute).tick().wakes(0)
	if st.s.past != nil || !st.s.Done() {
		t.Errorf("something is left: %+v", st.s.past)
	}
}

// What comes behind ids alone follows on the last publish, and who asks for what was before is told that it is gone.
func TestPublishBehindKnownIDs(t *testing.T) {
	st := newStand(t, resending)
	st.step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed)
	old := st.sayFrom("conn", "conn:0", "x")
	st.after(150 * time.Second).tick()
	p := &Publish{App: "app", Name: "room", ID: "conn:1", ConnID: "conn"}
	d := st.s.Step(st.now, Input{Kind: InPublish, From: gwB, Publish: p}, nil)[0].Message.(*Delivery)
	if d.Prev != SerialPosition(old) {
		t.Errorf("it comes after %s, want %s", d.Prev, SerialPosition(old))
	}
	if r := st.recall(History{After: old}); !r.Complete {
		t.Error("incomplete from the last publish on, behind which all is kept")
	}
	if r := st.recall(History{After: "01699999999999-000@x"}); r.Complete {
		t.Error("complete from before what has expired")
	}
}

// A copy knows ids for as long as its owner, and so does who takes it over.
func TestCopyKnowsIDs(t *testing.T) {
	st := newStand(t, resending)
	r := newReplica(1, 1, GatewayID{}, Stamp{}, Stamp{})
	var first []string
	for i := range 2 {
		id := fmt.Sprint("conn:", i)
		first = append(first, st.sayFrom("conn", id, "x"))
		d := &Delivery{Serial: first[i], ID: id, ConnID: "conn", TimeMs: st.now.UnixMs, Messages: []Message{{}}}
		r.add(&CopyPart{App: "app", Name: "room", Deliveries: []*Delivery{d}}, resending, st.now.Since, st.now.UnixMs)
		st.after(40 * time.Second)
	}
	for _, step := range []struct {
		at   time.Duration
		want []bool
	}{{30 * time.Second, []bool{true, true}}, {100 * time.Second, []bool{true, true}}, {140 * time.Second, []bool{false, true}}} {
		at, want := step.at, step.want // one after the other: the copy is swept on the way
		next := newStand(t, resending)
		next.now = st.now
		next.after(at - 10*time.Second)
		if r.sweep(next.now.Since); len(r.channels) != 1 {
			t.Fatalf("after %v: the copy is let go", at)
		}
		c := *r.channels[replicaKey{"app", "room"}]
		c.entries = append([]entry(nil), c.entries...)
		next.s.adopt(&c)
		for i, serial := range first {
			if got := next.sayFrom("conn", fmt.Sprint("conn:", i), "x"); (got == serial) != want[i] {
				t.Errorf("%v after the second: publish %d was %s, said again it is %s", at, i, serial, got)
			}
		}
	}
}

// Nobody makes an id that is taken for another's by the half of the hash that is no secret.
func TestKnownIDIsProven(t *testing.T) {
	h := &history{}
	d := &Delivery{Serial: "01700000000000-000@x", ID: "conn:7", ConnID: "conn"}
	h.remember(&entry{d: d, key: xxhash.Sum64String(d.ID), stamp: parseSerial(d.Serial)})
	if serial, found := h.old.find(&Publish{ID: "conn:7", ConnID: "conn"}); !found || serial != d.Serial {
		t.Errorf("%q, %v; want %s", serial, found, d.Serial)
	}
	h.old.list[0].key = xxhash.Sum64String("forged")
	if serial, found := h.old.find(&Publish{ID: "forged", ConnID: "conn"}); found {
		t.Errorf("an id with the same key is taken for the publish %s", serial)
	}
}

// Ids are many: each takes little.
func TestKnownIDsAreSmall(t *testing.T) {
	const n = 20_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what tests before left in pools is gone only now
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	h := &history{}
	for i := range n {
		id := fmt.Sprint(strings.Repeat("c", 12), ":", i)
		d := &Delivery{Serial: (Stamp{ms: int64(i)}).serial("abcdefgh"), ID: id, ConnID: id[:12], Messages: make([]Message, 1)}
		h.add(Stamp{ms: int64(i)}, time.Duration(i), d)
		h.shown++
	}
	h.expire(n, -1)
	each := (heap() - before) / n
	t.Logf("%d bytes for each of %d ids", each, h.old.len())
	if h.old.len() != n || each > 170 { // a list that has just grown has room for as many again
		t.Errorf("%d ids of %d bytes", h.old.len(), each)
	}
	h.expireIDs(n)
	if !h.empty() {
		t.Errorf("%d ids are left", h.old.len())
	}
}
