package limits

import (
	"testing"
	"time"
)

// BenchmarkSpend is what a publish pays: without limits, and with a rate of the app and one of its account.
func BenchmarkSpend(b *testing.B) {
	account := func(string) string { return "acc" }
	for _, c := range []struct {
		name string
		sets map[Scope]Set
	}{
		{"unlimited", nil},
		{"limited", map[Scope]Set{
			AppScope("a"): {MessageRate: {Hard: limitMax}}, AccountScope("acc"): {MessageRate: {Hard: limitMax}},
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			g := NewGates()
			g.Set(Config{Sets: c.sets, Account: account})
			gate := g.Of("a")
			b.ReportAllocs()
			for b.Loop() {
				if gate.Spend(MessageRate, 1) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkOpen is what opening a channel pays for leave that is in hand, and giving it back.
func BenchmarkOpen(b *testing.B) {
	g := NewGates()
	g.Set(Config{Sets: map[Scope]Set{AppScope("a"): {Channels: {Hard: 1 << 20}}}, Account: func(string) string { return "acc" }})
	p := NewPurse(g, func(Name, func(string) bool) int64 { return 0 }, func() {})
	l := NewLedger()
	c := Cluster{Live: []string{"n"}, Hard: func(k Key) int64 { return g.Hard(k.Scope, k.Name) }, Open: func(Key) int64 { return 0 }}
	for range 2 {
		holds, _ := p.Begin()
		p.End(time.Now(), l.Sync("n", holds, c))
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Ask(time.Time{}, Channels, "a", func(v Verdict, _ Scope) {
			if v != Granted {
				b.Fatal(v)
			}
		})
		p.Settle(Channels, "a", nil)
	}
}

// BenchmarkSync is what a second of a limited app costs a node and the leader, whatever it has open.
func BenchmarkSync(b *testing.B) {
	g := NewGates()
	g.Set(Config{Sets: map[Scope]Set{AppScope("a"): {Channels: {Hard: 1 << 20}, Connections: {Hard: 1 << 20}}}, Account: func(string) string { return "acc" }})
	p := NewPurse(g, func(Name, func(string) bool) int64 { return 100_000 }, func() {})
	l := NewLeader()
	c := Cluster{Live: []string{"n"}, Hard: func(k Key) int64 { return g.Hard(k.Scope, k.Name) }, Open: func(Key) int64 { return 100_000 }}
	b.ReportAllocs()
	for b.Loop() {
		holds, _ := p.Begin()
		p.End(time.Time{}, l.Sync(time.Time{}, "n", &Sync{Holds: holds, Demands: g.Demands()}, c).Grants)
	}
}
