package meter

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

func entry(at string, u Unit, r Row) Entry {
	first, _, err := ParseTime(at)
	if err != nil {
		panic(err)
	}
	return Entry{Unit: u, StartMs: first, Row: r}
}

func TestShapes(t *testing.T) {
	e := entry("2026-03-04:15:03", Minute, Row{
		Samples: 60, Ms: 60_000, Channels: Gauge{3, 12, 7 * 60_000}, Connections: Gauge{0, 4, 90_000},
		Counters: Counters{ChannelsOpened: 9, InboundREST: 2, InboundRESTBytes: 20, OutboundRealtime: 6, OutboundRealtimeBytes: 60, TokenRequests: 1},
	})
	flat, _ := json.Marshal(e.Flat("app"))
	if got, want := string(flat), `{"appId":"app","intervalId":"2026-03-04:15:03","unit":"minute","schema":"https://schemas.ably.com/json/app-stats-0.0.5.json",`+
		`"entries":{"apiRequests.all.succeeded":1,"apiRequests.tokenRequests.succeeded":1,"channels.mean":7,"channels.min":3,"channels.opened":9,"channels.peak":12,`+
		`"connections.all.mean":1.5,"connections.all.peak":4,"messages.all.all.count":8,"messages.all.all.data":80,"messages.all.messages.count":8,"messages.all.messages.data":80,`+
		`"messages.inbound.all.all.count":2,"messages.inbound.all.all.data":20,"messages.inbound.all.messages.count":2,"messages.inbound.all.messages.data":20,`+
		`"messages.inbound.rest.all.count":2,"messages.inbound.rest.all.data":20,"messages.inbound.rest.messages.count":2,"messages.inbound.rest.messages.data":20,`+
		`"messages.outbound.all.all.count":6,"messages.outbound.all.all.data":60,"messages.outbound.all.messages.count":6,"messages.outbound.all.messages.data":60,`+
		`"messages.outbound.realtime.all.count":6,"messages.outbound.realtime.all.data":60,"messages.outbound.realtime.messages.count":6,"messages.outbound.realtime.messages.data":60}}`; got != want {
		t.Errorf("flat:\n%s\nwant\n%s", got, want)
	}
	e.AsOfMs = e.StartMs
	nested := e.Nested()
	if nested.InProgress != "2026-03-04:15:03" || nested.Channels.Peak != 12 || nested.Connections.All.Mean != 1.5 || nested.All.All.Count != 8 || nested.Inbound.REST.Messages.Data != 20 {
		t.Errorf("nested: %+v", nested)
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		text        string
		first, last string
	}{
		{"2026-02", "2026-02-01T00:00:00Z", "2026-02-28T23:59:59.999Z"},
		{"2026-02-03", "2026-02-03T00:00:00Z", "2026-02-03T23:59:59.999Z"},
		{"2026-02-03:15", "2026-02-03T15:00:00Z", "2026-02-03T15:59:59.999Z"},
		{"2026-02-03:15:04", "2026-02-03T15:04:00Z", "2026-02-03T15:04:59.999Z"},
		{"1770130800123", "2026-02-03T15:00:00.123Z", "2026-02-03T15:00:00.123Z"},
	} {
		first, last, err := ParseTime(c.text)
		form := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }
		if err != nil || form(first) != c.first || form(last) != c.last {
			t.Errorf("%s is from %s to %s (%v), want from %s to %s", c.text, form(first), form(last), err, c.first, c.last)
		}
	}
	for _, text := range []string{"", "yesterday", "-1", "2026-13", "2026-02-30", "99999999999999999"} {
		if _, _, err := ParseTime(text); err == nil {
			t.Errorf("%q is read as a time", text)
		}
	}
}

// FuzzDecode reads reports and states of any bytes.
func FuzzDecode(f *testing.F) {
	r := Report{N: 3, Layout: 9, Partitions: []Partition{{1, 2, map[string]int64{"a": 4}}}, Apps: []App{{"a", 5, Counters{6}}}}
	f.Add(r.Append(nil))
	s := newSeries(march.UnixMilli() + 5000)
	s.count(1, "b", &Counters{7})
	c := chunk{series: map[string]*series{"a/x": s}}
	f.Add(c.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeReport(b); err == nil {
			if again, err := DecodeReport(r.Append(nil)); err != nil || again.N != r.N || again.Layout != r.Layout || len(again.Apps) != len(r.Apps) {
				t.Errorf("%+v is read again as %+v, %v", r, again, err)
			}
		}
		decodeChunk(b)
	})
}

// BenchmarkSecond is what a second of metering costs a leader: 100,000 open channels of ten apps in 128 partitions on
// three nodes. Reports count by partition, so the number of channels does not matter here; what reading them from a host
// costs does not depend on it either.
func BenchmarkSecond(b *testing.B) {
	const apps, partitions, nodes, channels = 10, 128, 3, 100_000
	board := NewBoard()
	m, _ := Resume(1, nil, DefaultRetention, func(string) string { return "acme" })
	live := []string{"0", "1", "2"}
	now := march.UnixMilli()
	for i := 0; b.Loop(); i++ {
		for node := range nodes {
			r := &Report{N: uint64(i + 1)}
			for part := node; part < partitions; part += nodes {
				open := make(map[string]int64, apps)
				for app := range apps {
					open[fmt.Sprint(app)] = channels / apps / partitions
				}
				r.Partitions = append(r.Partitions, Partition{uint32(part), 1, open})
			}
			for app := range apps {
				r.Apps = append(r.Apps, App{fmt.Sprint(app), 1000, Counters{InboundRealtime: uint64(i)}})
			}
			got, err := DecodeReport(r.Append(nil))
			if err != nil {
				b.Fatal(err)
			}
			board.Take(live[node], got)
		}
		board.Live(live, now)
		m.Sample(now, board)
		m.Wrote(m.Due(now, false))
		now += 1000
	}
}
