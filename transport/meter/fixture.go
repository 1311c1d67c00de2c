package meter

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Fixtures are intervals that were made up for tests of clients. They are kept like measured ones and read back in both
// shapes, also summed up over the coarser units; what this package has no number for is left out.

// fixtureTerm is above all terms of leaders: what is made up stands in place of what was measured.
const fixtureTerm = math.MaxUint64

type fixture struct {
	IntervalID    string            `json:"intervalId"`
	Unit          string            `json:"unit"`
	Inbound       fixtureDirections `json:"inbound"`
	Outbound      fixtureDirections `json:"outbound"`
	Connections   map[string]gauge  `json:"connections"` // by kind, or all; none is counted apart
	Channels      gauge             `json:"channels"`
	APIRequests   Requests          `json:"apiRequests"`
	TokenRequests Requests          `json:"tokenRequests"`
}

type fixtureDirections struct {
	Realtime fixtureTraffic `json:"realtime"`
	REST     fixtureTraffic `json:"rest"`
}

type fixtureTraffic struct {
	Messages Amount `json:"messages"`
}

type gauge struct {
	Peak    int64   `json:"peak"`
	Min     int64   `json:"min"`
	Mean    float64 `json:"mean"`
	Opened  uint64  `json:"opened"`
	Refused uint64  `json:"refused"`
}

// ParseFixtures reads a JSON array of intervals of a minute, in the nested shape.
func ParseFixtures(text []byte) ([]Entry, error) {
	var list []fixture
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("stats have to be an array of intervals: %w", err)
	}
	entries := make([]Entry, 0, len(list))
	for i := range list {
		f := &list[i]
		first, last, err := ParseTime(f.IntervalID)
		if err != nil || last-first+1 != Minute.End(first)-first || f.Unit != "" && f.Unit != Minute.String() {
			return nil, fmt.Errorf("interval %d: %.40q is not a minute like 2006-01-02:15:04", i, f.IntervalID)
		}
		row, err := f.row()
		if err != nil {
			return nil, fmt.Errorf("interval %d: %w", i, err)
		}
		entries = append(entries, Entry{Unit: Minute, StartMs: first, Row: row})
	}
	return entries, nil
}

func (f *fixture) row() (r Row, err error) {
	r = Row{Samples: 1, Ms: Minute.End(0)}
	c := &r.Counters
	for _, t := range []struct {
		of           Amount
		count, bytes Counter
	}{
		{f.Inbound.Realtime.Messages, InboundRealtime, InboundRealtimeBytes},
		{f.Inbound.REST.Messages, InboundREST, InboundRESTBytes},
		{f.Outbound.Realtime.Messages, OutboundRealtime, OutboundRealtimeBytes},
	} {
		c[t.count], c[t.bytes] = t.of.Count, t.of.Data
	}
	var connections gauge
	if all, ok := f.Connections["all"]; ok {
		connections = all
	} else {
		for _, kind := range f.Connections {
			connections.Peak += kind.Peak
			connections.Min += kind.Min
			connections.Mean += kind.Mean
			connections.Opened += kind.Opened
			connections.Refused += kind.Refused
		}
	}
	if r.Connections, err = connections.measured(r.Ms); err != nil {
		return r, fmt.Errorf("connections: %w", err)
	}
	if r.Channels, err = f.Channels.measured(r.Ms); err != nil {
		return r, fmt.Errorf("channels: %w", err)
	}
	c[ConnectionsOpened], c[ConnectionsRefused] = connections.Opened, connections.Refused
	c[ChannelsOpened], c[ChannelsRefused] = f.Channels.Opened, f.Channels.Refused
	c[APIRequests], c[APIRequestsFailed] = f.APIRequests.Succeeded, f.APIRequests.Failed
	c[TokenRequests], c[TokenRequestsFailed] = f.TokenRequests.Succeeded, f.TokenRequests.Failed
	return r, nil
}

func (g *gauge) measured(ms int64) (Gauge, error) {
	const most = 1 << 40
	if g.Peak < 0 || g.Peak > most || g.Min < 0 || g.Min > g.Peak || !(g.Mean >= 0) || g.Mean > float64(g.Peak) {
		return Gauge{}, fmt.Errorf("0 ≤ min ≤ mean ≤ peak does not hold for %+v", *g)
	}
	return Gauge{Min: g.Min, Peak: g.Peak, Area: int64(g.Mean * float64(ms))}, nil
}

// Fixtures gives the rows to be written for minutes that were made up, and for the hours, days and months they are in.
func (a *Archive) Fixtures(series string, minutes []Entry, nowMs int64) ([]Put, error) {
	var puts []Put
	put := func(u Unit, start int64, r *Row) {
		puts = append(puts, Put{
			Table: TableRows, Key: rowKey(u, series, start, fixtureTerm), Value: r.append(nil), ExpireMs: nowMs + DefaultRetention[u].Milliseconds(),
		})
	}
	made := map[int64]*Row{}
	for i := range minutes {
		made[minutes[i].StartMs] = &minutes[i].Row
	}
	for start, r := range made {
		put(Minute, start, r)
	}
	for u := Hour; u < numUnits; u++ {
		sums := map[int64]*Row{}
		for start := range made {
			sums[u.Start(start)] = nil
		}
		for start := range sums {
			kept, _, err := a.Find(Query{Series: series, Unit: Minute, FromMs: start, ToMs: u.End(start) - 1, Forwards: true, Limit: math.MaxInt})
			if err != nil {
				return nil, err
			}
			sum := &Row{}
			for i := range kept {
				if made[kept[i].StartMs] == nil {
					sum.Merge(&kept[i].Row)
				}
			}
			for at, r := range made {
				if u.Start(at) == start {
					sum.Merge(r)
				}
			}
			put(u, start, sum)
		}
	}
	slices.SortFunc(puts, func(p, q Put) int {
		if p.Key < q.Key {
			return -1
		}
		return 1
	})
	return puts, nil
}
