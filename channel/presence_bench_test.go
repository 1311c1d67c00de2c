package channel

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// crowd makes a channel with n members, each on a connection of its own.
func crowd(n int) (*presence, Moment) {
	p, now := &presence{}, Moment{Since: time.Second, UnixMs: 1_700_000_000_000}
	for i := range n {
		conn := fmt.Sprintf("conn%08d", (i*7919)%n)
		p.change(now, 1, &PresenceChange{ConnID: conn, ID: conn + ":0", Members: []Member{{Action: Enter, ClientID: fmt.Sprint("client", i)}}}, 0, nil)
	}
	return p, now
}

// BenchmarkPresenceEnter lets one more enter and leave a set of 10,000; B/member is what the set takes.
func BenchmarkPresenceEnter(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p, now := crowd(10_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	serial := int64(0)
	for b.Loop() {
		for _, action := range []PresenceAction{Enter, Leave} {
			p.change(now, 1, &PresenceChange{ConnID: "conn00005000x", MsgSerial: serial, ID: "x", Members: []Member{{Action: action, ClientID: "one more"}}}, 0, nil)
			serial++
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/10_000, "B/member")
	runtime.KeepAlive(p)
}

// BenchmarkPresencePages walks a set of 10,000 in pages, as a SYNC does.
func BenchmarkPresencePages(b *testing.B) {
	p, _ := crowd(10_000)
	for b.Loop() {
		q := PresenceQuery{Limit: 500}
		for more := true; more; {
			var r PresencePage
			p.page(&q, &r)
			last := &r.Members[len(r.Members)-1]
			q.AfterConn, q.After, more = last.ConnID, last.ClientID, r.More
		}
	}
}
