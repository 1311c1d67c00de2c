package limits

import (
	"reflect"
	"testing"
	"time"
)

// gated are gates with limits of app a, app b and their account.
func gated(sets map[Scope]Set) *Gates {
	g := NewGates()
	g.Set(Config{Sets: sets, Account: func(string) string { return "acc" }})
	return g
}

// What was refused counts for whose limit it was, and for nobody else's.
func TestRefusalsAreOfTheScopeThatRefuses(t *testing.T) {
	app, other, account := AppScope("a"), AppScope("b"), AccountScope("acc")
	g := gated(map[Scope]Set{
		app:     {MessageRate: {Hard: 2}, ConnectionInRate: {Hard: 10}, MessageSize: {Hard: 2000}},
		account: {MessageRate: {Hard: 5}, ConnectionInRate: {Hard: 7}, MessageSize: {Hard: 3000}},
	})
	a, b := g.Of("a"), g.Of("b")
	for i, step := range []struct {
		gate *Gate
		n    int
		want Scope // that refuses; "" for none
	}{
		{a, 2, ""}, {a, 1, app}, {b, 3, ""}, {b, 1, account}, {a, 1, app},
	} {
		got := Scope("")
		if r := step.gate.Spend(MessageRate, step.n); r != nil {
			got = r.Scope
		}
		if got != step.want {
			t.Errorf("step %d: refused by %q, want %q", i, got, step.want)
		}
	}
	if r := a.Refuse(ConnectionInRate); r.Scope != account || r.Hard != 7 {
		t.Errorf("the tighter of 10 and the account's 7 is %+v", r)
	}
	a.TooLarge(65536) // the app's is tighter
	b.TooLarge(65536)
	b.TooLarge(2500) // what the node takes is tighter
	want := map[Scope][NumNames]uint64{
		app:     {MessageRate: 2, MessageSize: 1},
		account: {MessageRate: 1, ConnectionInRate: 1, MessageSize: 1},
	}
	if got := g.Refusals(); !reflect.DeepEqual(got, want) {
		t.Errorf("refused: %v, want %v and nothing of %s", got, want, other)
	}

	// The leader adds up what is new, of each boot.
	l := NewLeader()
	c := Cluster{Live: []string{"x", "y"}, Hard: func(k Key) int64 { return g.Hard(k.Scope, k.Name) }, Open: func(Key) int64 { return 0 }}
	l.Sync(time.Time{}, "x", &Sync{Refused: g.Refusals()}, c)
	if fresh := l.Refusals(); fresh[app][MessageRate] != 0 {
		t.Errorf("what was refused before it was heard counts: %v", fresh)
	}
	a.Spend(MessageRate, 1)
	l.Sync(time.Time{}, "x", &Sync{Refused: g.Refusals()}, c)
	if fresh := l.Refusals(); fresh[app][MessageRate] != 1 || fresh[account][MessageRate] != 0 {
		t.Errorf("of the app one is new: %v", fresh)
	}
}

// A rate with a soft threshold alone refuses nothing; what is asked for is known on every node.
func TestRateThatIsOnlyWatched(t *testing.T) {
	key := Key{AppScope("a"), MessageRate}
	l, now := NewLeader(), time.Unix(1_000_000, 0)
	c := Cluster{Live: []string{"x", "y"}, Hard: func(Key) int64 { return 0 }, Open: func(Key) int64 { return 0 }}
	nodes := map[string]*Gates{}
	for _, boot := range c.Live {
		nodes[boot] = gated(map[Scope]Set{key.Scope: {MessageRate: {Soft: 3}}})
	}
	for range 3 {
		now = now.Add(time.Second)
		for i, boot := range c.Live {
			g := nodes[boot]
			for range 10 * (i + 1) {
				if r := g.Of("a").Spend(MessageRate, 1); r != nil {
					t.Fatalf("refused: %+v", r)
				}
			}
			a := l.Sync(now, boot, &Sync{Demands: g.Demands()}, c)
			g.Share(a.Shares)
			if i == 1 && (len(a.Shares) != 1 || a.Shares[0].Asked != 30) {
				t.Fatalf("30 a second are asked for, and %s hears %+v", boot, a.Shares)
			}
		}
	}
}
