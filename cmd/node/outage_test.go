package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/raftstore"
	"innkeeper/transport/dispatch"
	"innkeeper/transport/pull"
	"innkeeper/transport/standing"
)

// How long the receiver is away, and what happens meanwhile.
const (
	outageHours       = 6
	outageTransitions = 50_000
)

// told is what a webhook says: an event or a gap.
type told struct {
	ID, Channel, Type   string
	Seq, Ends, From, To uint64
}

// receiver is a backend that keeps a table of the occupied channels by the book: it drops what it has, and where it is
// told of a gap it makes its table anew from /occupied, and goes on with what is newer.
type receiver struct {
	events func(path string, query url.Values, into any) // the pull API

	mu    sync.Mutex
	down  bool
	seen  map[string]bool
	order []uint64
	table map[string]uint64 // channel to seq of its occupied
	plain map[string]uint64 // the same by webhooks alone: the gap is not looked at
	asOf  uint64            // the table is true for this at least
	gaps  []told
	wrong []string
}

func newReceiver(events func(string, url.Values, any)) *receiver {
	return &receiver{events: events, down: true, seen: map[string]bool{}, table: map[string]uint64{}, plain: map[string]uint64{}}
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, errors.New("connection refused")
	}
	var batch struct{ Events []told }
	if err := json.NewDecoder(req.Body).Decode(&batch); err != nil {
		return nil, err
	}
	for _, e := range batch.Events {
		r.take(e)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(nil))}, nil
}

func (r *receiver) take(e told) {
	if r.seen[e.ID] {
		return
	}
	r.seen[e.ID] = true
	if e.Type == "gap" {
		r.gaps = append(r.gaps, e)
		r.rebuild()
		return
	}
	r.order = append(r.order, e.Seq)
	r.apply(r.plain, e)
	if e.Seq > r.asOf {
		r.apply(r.table, e)
	}
}

// apply changes a table, and notes what cannot be.
func (r *receiver) apply(table map[string]uint64, e told) {
	seq, occupied := table[e.Channel]
	switch {
	case e.Type == "occupied" && !occupied:
		table[e.Channel] = e.Seq
	case e.Type == "vacated" && occupied && seq == e.Ends:
		delete(table, e.Channel)
	default:
		r.wrong = append(r.wrong, fmt.Sprintf("%+v where %d was occupied", e, seq))
	}
}

func (r *receiver) rebuild() {
	clear(r.table)
	query := url.Values{"limit": {"100"}}
	for {
		var page struct {
			AsOf     uint64 `json:"as_of"`
			Next     string
			Channels []struct {
				Channel string
				Seq     uint64
			}
		}
		r.events("/occupied", query, &page)
		r.asOf = page.AsOf
		for _, c := range page.Channels {
			r.table[c.Channel] = c.Seq
		}
		if page.Next == "" {
			return
		}
		query.Set("cursor", page.Next)
	}
}

// nobody is a listener that nobody dials.
type nobody struct{ closed chan struct{} }

func (l nobody) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l nobody) Addr() net.Addr            { return &net.TCPAddr{} }
func (l nobody) Close() error              { close(l.closed); return nil }

// outage is a log of a cluster of one with a dispatcher, whose receiver is down.
type outage struct {
	t        *testing.T
	store    *raftstore.Store
	receiver *receiver
	truth    map[string]bool
	dispatch *dispatch.Dispatcher

	// What things took when the receiver came back.
	events, heap int // bytes
	folded       int // events
}

func newOutage(t *testing.T, retentionMax int) *outage {
	o := &outage{t: t, truth: map[string]bool{}}
	disk := raftstore.NewMemDisk()
	disk.SetNodeID("n")
	var err error
	o.store, err = raftstore.Open(raftstore.Config{
		Disk: disk, Listener: nobody{make(chan struct{})}, Advertise: "n:1", Retention: 2000, RetentionMax: retentionMax,
		Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("there is nobody else") },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.store.Bootstrap("0123456789", 1, []raftstore.Server{{ID: "n", Addr: "n:1"}}); err != nil {
		t.Fatal(err)
	}
	for o.store.View().ClusterID == "" {
		<-o.store.Changed()
	}
	err = o.store.Commit(t.Context(), raftstore.MembershipChange{
		IfVersion: o.store.View().Table.Version, Slots: []raftstore.SlotChange{{Owner: "n"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := pull.New(pull.Config{
		Source: pullSource{eventLog{o.store}, func() standing.Standing { return standing.InTouch }}, Authorize: func(*http.Request) (string, error) { return "demo", nil },
	})
	o.receiver = newReceiver(func(path string, query url.Values, into any) {
		w := httptest.NewRecorder()
		p.Occupied(w, httptest.NewRequest(http.MethodGet, path+"?"+query.Encode(), nil))
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil || w.Code != http.StatusOK {
			t.Errorf("%s answers %d: %s", path, w.Code, w.Body)
		}
	})
	o.dispatch, err = dispatch.New(dispatch.Config{
		Log: eventLog{o.store}, Client: &http.Client{Transport: o.receiver},
		Rules: []dispatch.Rule{{ID: "state", App: "demo", URL: "http://backend.test/events"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.dispatch.Lead(true)
	return o
}

func (o *outage) close() {
	o.dispatch.Close()
	if err := o.store.Close(); err != nil {
		o.t.Error(err)
	}
}

// churn makes n transitions: rooms that come and go, and one in four pairs of a channel that never comes again.
func (o *outage) churn(rand *rand.Rand, n int) {
	var done sync.WaitGroup
	for n > 0 {
		name := fmt.Sprint("room:", rand.IntN(500))
		if rand.IntN(4) == 0 {
			name = fmt.Sprintf("brief:%x", rand.Uint64())
		}
		for range 2 {
			if n--; n < 0 {
				break
			}
			kind := raftstore.Occupied
			if o.truth[name] {
				kind = raftstore.Vacated
			}
			o.truth[name] = !o.truth[name]
			done.Add(1)
			o.store.Propose(0, 1, raftstore.Transition{Kind: kind, App: "demo", Name: name, TimeMs: time.Now().UnixMilli()}, func(err error) {
				if err != nil {
					o.t.Errorf("propose: %v", err)
				}
				done.Done()
			})
			if name[0] == 'r' {
				break
			}
		}
	}
	done.Wait()
}

// pass lets the hours go by, and then brings the receiver back.
func (o *outage) pass() {
	rand := rand.New(rand.NewPCG(1, 2))
	const bursts = 500
	for range bursts {
		o.churn(rand, outageTransitions/bursts)
		time.Sleep(outageHours * time.Hour / bursts)
	}
	stats := o.store.Stats()
	o.events, o.folded, o.heap = stats.EventBytes+stats.FoldedBytes, stats.Folded, heap()
	o.receiver.mu.Lock()
	o.receiver.down = false
	o.receiver.mu.Unlock()
	o.churn(rand, 500) // things go on while it catches up
	for o.store.Cursors()["demo/state"] < o.store.View().LastSeq {
		time.Sleep(10 * time.Millisecond) // of the bubble
	}
}

// check compares the receiver's tables with what is so.
func (o *outage) check() {
	want := map[string]uint64{}
	o.store.Occupied(0, func(_, name string, seq uint64, _ int64) bool { want[name] = seq; return true })
	for name, occupied := range o.truth {
		if _, ok := want[name]; ok != occupied {
			o.t.Fatalf("%s is %v in the log", name, ok)
		}
	}
	r := o.receiver
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wrong) > 0 {
		o.t.Errorf("%d impossible events, the first: %s", len(r.wrong), r.wrong[0])
	}
	if !maps.Equal(r.plain, want) {
		o.t.Errorf("by webhooks alone the receiver has %d channels, %d are occupied", len(r.plain), len(want))
	}
	if !maps.Equal(r.table, want) {
		o.t.Errorf("after rebuilding the receiver has %d channels, %d are occupied", len(r.table), len(want))
	}
}

func TestReachesAgree(t *testing.T) {
	if dispatch.Reach != raftstore.CursorReach {
		t.Errorf("the dispatcher reaches %d ahead of its cursor, the log counts on %d", dispatch.Reach, raftstore.CursorReach)
	}
}

// heap is what is in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestReceiverDownForHours: all that is owed arrives, in order, and what it takes in memory meanwhile is little.
func TestReceiverDownForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := heap()
		o := newOutage(t, 0x100000)
		defer o.close()
		o.pass()
		o.check()
		r := o.receiver
		if last := o.store.View().LastSeq; len(r.gaps) > 0 || uint64(len(r.order)) != last || last != outageTransitions+500 {
			t.Errorf("%d gaps, %d events arrived, %d took place", len(r.gaps), len(r.order), last)
		}
		t.Logf("%d kB of events, %d kB more heap with the test's own tables", o.events>>10, (o.heap-before)>>10)
		if o.events > 50*outageTransitions || o.heap-before > 32<<20 {
			t.Error("that is too much")
		}
	})
}

// TestReceiverDownBeyondTheBound: with less room there is a gap, and the receiver is right in the end, whether it makes
// its table anew or not.
func TestReceiverDownBeyondTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 4000)
		defer o.close()
		o.pass()
		o.check()
		t.Logf("%d events folded, %d kB", o.folded, o.events>>10)
		// What the sink may know, the ends of the 500 rooms in that, and those that are occupied.
		if o.folded == 0 || o.folded > raftstore.CursorReach+2*500 || o.events > 50*(o.folded+6*1024) {
			t.Errorf("%d events folded, %d bytes", o.folded, o.events)
		}
		r := o.receiver
		if len(r.gaps) != 1 || r.gaps[0].To < outageTransitions-4000 || len(r.order) > raftstore.CursorReach+6000 {
			t.Errorf("gaps %+v, %d events arrived", r.gaps, len(r.order))
		}
		if s := o.dispatch.Status().Rules[0]; s.Gaps != 1 {
			t.Errorf("status is %+v", s)
		}
	})
}
