package meter

import "testing"

// TestConnectionsOfTheDeadAreNotCountedTwice has a node die and its clients come back at another before its death is
// known: the count stands still until it is, and goes on when nobody finds it dead.
func TestConnectionsOfTheDeadAreNotCountedTwice(t *testing.T) {
	b := NewBoard()
	m, err := Resume(1, nil, DefaultRetention, func(string) string { return "account" })
	if err != nil {
		t.Fatal(err)
	}
	now, n := Hour.Start(1_700_000_000_000), uint64(0)
	second := func(connections map[string]int64, live ...string) int64 {
		n++
		now += 1000
		for id, c := range connections {
			b.Take(id, &Report{N: n, Apps: []App{{ID: "app", Connections: c}}})
		}
		b.Live(live, now)
		m.Sample(now, b)
		return m.chunks[chunkOf(AppSeries("app"))].series[AppSeries("app")].last.Connections
	}
	both := []string{"a", "b"}
	second(map[string]int64{"a": 10, "b": 10}, both...)
	if got := second(map[string]int64{"a": 10, "b": 10}, both...); got != 20 {
		t.Fatalf("%d connections, want 20", got)
	}
	if got := second(map[string]int64{"a": 19}, both...); got != 20 {
		t.Errorf("%d connections while b is silent, want 20", got)
	}
	if got := second(map[string]int64{"a": 19}, "a"); got != 19 {
		t.Errorf("%d connections when b is known to be dead, want 19", got)
	}
	second(map[string]int64{"a": 19, "c": 1}, "a", "c")
	for range lateMax / 1000 {
		if got := second(map[string]int64{"a": 25}, "a", "c"); got != 20 {
			t.Fatalf("%d connections while c is silent, want 20", got)
		}
	}
	if got := second(map[string]int64{"a": 25}, "a", "c"); got != 26 {
		t.Errorf("%d connections when c is silent for long and no death is known, want 26", got)
	}
}
