package meter

import (
	"slices"
	"strings"
	"testing"
)

// shelf is a log of rows.
type shelf struct {
	rows    map[string][]byte
	version uint64
}

func (s *shelf) Version(string) uint64 { return s.version }

func (s *shelf) Rows(table string) (list []Stored, version uint64) {
	for key, value := range s.rows {
		if table == TableRows {
			list = append(list, Stored{key, value})
		}
	}
	slices.SortFunc(list, func(a, b Stored) int { return strings.Compare(a.Key, b.Key) })
	return list, s.version
}

func (s *shelf) put(t *testing.T, a *Archive, text string) {
	t.Helper()
	minutes, err := ParseFixtures([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	puts, err := a.Fixtures("a/app", minutes, 1_700_000_000_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range puts {
		s.rows[p.Key] = p.Value
	}
	s.version++
}

func TestFixturesComeBackSummedUp(t *testing.T) {
	s := &shelf{rows: map[string][]byte{}, version: 1}
	a := NewArchive(s)
	s.put(t, a, `[
		{"intervalId":"2014-02-03:15:03","inbound":{"realtime":{"messages":{"count":50,"data":5000}}},"outbound":{"realtime":{"messages":{"count":20,"data":2000}}}},
		{"intervalId":"2014-02-03:15:04","inbound":{"rest":{"messages":{"count":60,"data":6000}}},"channels":{"peak":10,"opened":3,"mean":5}}]`)
	s.put(t, a, `[{"intervalId":"2014-02-03:16:05","inbound":{"realtime":{"messages":{"count":70,"data":7000}}},"connections":{"tls":{"peak":20,"opened":10}},
		"channels":{"peak":50,"opened":30},"apiRequests":{"succeeded":50,"failed":10},"tokenRequests":{"succeeded":60,"failed":20},"persisted":{"presence":{"count":20}}}]`)
	find := func(unit Unit, at string) map[string]float64 {
		from, to, err := ParseTime(at)
		if err != nil {
			t.Fatal(err)
		}
		list, more, err := a.Find(Query{Series: "a/app", Unit: unit, FromMs: from, ToMs: to, Limit: 10})
		if err != nil || more || len(list) != 1 {
			t.Fatalf("%v %s: %d entries, %v, %v", unit, at, len(list), more, err)
		}
		return list[0].Flat("app").Entries
	}
	for _, c := range []struct {
		unit     Unit
		at, name string
		want     float64
	}{
		{Minute, "2014-02-03:15:03", "messages.inbound.realtime.messages.count", 50},
		{Minute, "2014-02-03:15:03", "messages.inbound.all.all.data", 5000},
		{Minute, "2014-02-03:15:03", "messages.all.all.count", 70},
		{Minute, "2014-02-03:15:04", "channels.mean", 5},
		{Hour, "2014-02-03:15", "messages.inbound.all.messages.count", 110},
		{Hour, "2014-02-03:15", "channels.peak", 10},
		{Hour, "2014-02-03:16", "connections.all.peak", 20},
		{Day, "2014-02-03", "messages.inbound.all.all.count", 180},
		{Day, "2014-02-03", "channels.opened", 33},
		{Month, "2014-02", "channels.peak", 50},
		{Month, "2014-02", "apiRequests.tokenRequests.failed", 20},
		{Month, "2014-02", "apiRequests.other.succeeded", 50},
	} {
		if got := find(c.unit, c.at)[c.name]; got != c.want {
			t.Errorf("%v %s: %s is %v, want %v", c.unit, c.at, c.name, got, c.want)
		}
	}
	// The same again changes nothing.
	s.put(t, a, `[{"intervalId":"2014-02-03:15:04","inbound":{"rest":{"messages":{"count":60,"data":6000}}}}]`)
	if got := find(Day, "2014-02-03")["messages.inbound.all.all.count"]; got != 180 {
		t.Errorf("said again the day has %v", got)
	}
}

func TestBadFixtures(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                            "array",
		`[{}]`:                          "minute",
		`[{"intervalId":"2014-02-03"}]`: "minute",
		`[{"intervalId":"2014-02-03:15:03","unit":"hour"}]`:             "minute",
		`[{"intervalId":"2014-02-03:15:03","channels":{"peak":-1}}]`:    "channels",
		`[{"intervalId":"2014-02-03:15:03","inbound":{"realtime":[]}}]`: "array",
	} {
		if _, err := ParseFixtures([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something of %q", text, err, want)
		}
	}
}
