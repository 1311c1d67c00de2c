package meter

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// counted is what the minutes of a series say in all, of one counter.
func (l *tableLog) counted(t failer, series string, c Counter) (n uint64) {
	t.Helper()
	for _, e := range l.find(t, Query{Series: series}) {
		n += e.Row.Counters[c]
	}
	return n
}

// owners are the accounts of apps. An app that is not among them is the default account's.
type owners map[string]string

func (o owners) of(app string) string {
	if account, ok := o[app]; ok {
		return account
	}
	return "default"
}

// office is a cluster of one boot whose leader looks at it each second.
type office struct {
	t      *testing.T
	log    *tableLog
	board  *Board
	meter  *Meter
	owners owners
	n      uint64
	term   uint64
	nowMs  int64
}

func newOffice(t *testing.T, o owners) *office {
	f := &office{t: t, log: newTableLog(), board: NewBoard(), owners: o, nowMs: march.UnixMilli()}
	f.lead()
	return f
}

// lead has another leader go on with what was committed.
func (f *office) lead() {
	f.term++
	f.meter = f.log.resume(f.t, f.term)
	f.meter.account = f.owners.of
}

// second has the boot say how many messages each app has sent so far.
func (f *office) second(messages map[string]uint64) {
	f.n++
	f.nowMs += 1000
	r := &Report{N: f.n}
	for _, app := range slices.Sorted(maps.Keys(messages)) {
		r.Apps = append(r.Apps, App{ID: app, Counters: Counters{InboundREST: messages[app]}})
	}
	f.board.Take("b1", r)
	f.board.Live([]string{"b1"}, f.nowMs)
	f.meter.Sample(f.nowMs, f.board)
	f.log.write(f.meter, f.nowMs)
}

func (f *office) want(account string, messages uint64) {
	f.t.Helper()
	f.log.write(f.meter, f.nowMs+writeEvery)
	if got := f.log.counted(f.t, AccountSeries(account), InboundREST); got != messages {
		f.t.Errorf("%s has %d messages, want %d", account, got, messages)
	}
}

// TestDeletedAppStaysInItsAccountsFigures has an account go on after one of its apps is deleted. What the app had sent
// stays with the account, and is nobody else's.
func TestDeletedAppStaysInItsAccountsFigures(t *testing.T) {
	f := newOffice(t, owners{"x": "acme", "y": "acme"})
	f.second(map[string]uint64{"x": 1000, "y": 10})
	delete(f.owners, "x")
	f.second(map[string]uint64{"x": 1000, "y": 10})
	f.want("acme", 1010)
	f.second(map[string]uint64{"x": 1000, "y": 510})
	f.want("acme", 1510)
	f.want("default", 0)
	f.lead()
	f.second(map[string]uint64{"x": 1000, "y": 511})
	f.want("acme", 1511)
	f.want("default", 0)
}

// TestAppChangesHands has an app go to another account and come back.
func TestAppChangesHands(t *testing.T) {
	f := newOffice(t, owners{"x": "acme", "y": "acme", "z": "other"})
	f.second(map[string]uint64{"x": 1000, "y": 10, "z": 1})
	f.owners["x"] = "other"
	f.second(map[string]uint64{"x": 1005, "y": 20, "z": 2})
	f.want("acme", 1020)
	f.want("other", 7)
	f.lead() // the move is known to whoever leads next
	f.second(map[string]uint64{"x": 1010, "y": 30, "z": 3})
	f.want("acme", 1030)
	f.want("other", 13)
	f.owners["x"] = "acme"
	f.second(map[string]uint64{"x": 1100, "y": 30, "z": 3})
	f.want("acme", 1120)
	f.want("other", 13)
}

// TestAccountChangesDuringASample has each question for an account answered by another one.
func TestAccountChangesDuringASample(t *testing.T) {
	f := newOffice(t, owners{})
	asked := 0
	f.meter.account = func(string) string {
		asked++
		return fmt.Sprint("account", asked)
	}
	for i := range uint64(5) {
		f.second(map[string]uint64{"x": 10 * (i + 1), "y": 0})
	}
	f.log.write(f.meter, f.nowMs+writeEvery)
	total := uint64(0)
	for i := range asked {
		total += f.log.counted(t, AccountSeries(fmt.Sprint("account", i+1)), InboundREST)
	}
	if total != 50 {
		t.Errorf("all accounts have %d messages, want 50", total)
	}
}

// TestAccountsOfAnyHistory lets apps come, go and change accounts while boots and leaders die, some with half a write done,
// and the whole cluster stops: what an account's minutes add up to is what its apps did while they were its own.
func TestAccountsOfAnyHistory(t *testing.T) {
	apps, accounts := []string{"u", "v", "w", "x", "y", "z"}, []string{"acme", "other", "third", "default"}
	counters := []Counter{InboundREST, TokenRequests}
	rapid.Check(t, func(t *rapid.T) {
		log, board, owned := newTableLog(), NewBoard(), owners{}
		var m *Meter
		var late []func()
		term, started, looked := uint64(0), 0, false
		type tally map[string]*Counters // by account
		did, boots := tally{}, map[string]map[string]*Counters{}
		recent := map[int64]tally{} // what was done when
		doubt := tally{}            // done before all died
		add := func(to tally, account string, c *Counters) {
			if to[account] == nil {
				to[account] = new(Counters)
			}
			to[account].Add(c)
		}
		boot := func() {
			started++
			boots[fmt.Sprint("boot", started)] = map[string]*Counters{}
		}
		names := func() []string { return slices.Sorted(maps.Keys(boots)) }
		lead := func() {
			term++
			m, looked = log.resume(t, term), false
			m.account = owned.of
		}
		n, now := uint64(0), march.UnixMilli()
		sample := func() {
			n++
			now += 1000
			for _, id := range names() {
				r := &Report{N: n}
				for _, app := range slices.Sorted(maps.Keys(boots[id])) {
					r.Apps = append(r.Apps, App{ID: app, Counters: *boots[id][app]})
				}
				board.Take(id, r)
			}
			board.Live(names(), now)
			m.Sample(now, board)
			looked = true
		}
		for range 3 {
			boot()
		}
		lead()
		sample()
		for range rapid.IntRange(20, 200).Draw(t, "seconds") {
			recent[now] = tally{}
			if looked {
				// A leader that has not looked yet cannot know whose an app was before.
				switch app := rapid.SampledFrom(apps).Draw(t, "app"); rapid.IntRange(0, 5).Draw(t, "change") {
				case 0:
					delete(owned, app)
				case 1, 2:
					owned[app] = rapid.SampledFrom(accounts).Draw(t, "account")
				}
			}
			for range rapid.IntRange(0, 5).Draw(t, "works") {
				id, app := rapid.SampledFrom(names()).Draw(t, "boot"), rapid.SampledFrom(apps).Draw(t, "app")
				more := Counters{}
				more[rapid.SampledFrom(counters).Draw(t, "counter")] = uint64(rapid.IntRange(1, 1000).Draw(t, "more"))
				if boots[id][app] == nil {
					boots[id][app] = new(Counters)
				}
				boots[id][app].Add(&more)
				add(did, owned.of(app), &more)
				add(recent[now], owned.of(app), &more)
			}
			sample()
			log.write(m, now)
			switch rapid.IntRange(0, 11).Draw(t, "event") {
			case 0: // a boot dies
				delete(boots, rapid.SampledFrom(names()).Draw(t, "dead"))
				boot()
			case 1: // the leader is deposed, and what it had under way lands later or in part
				b := m.Due(maxMs, true)
				landed := b.Puts[:rapid.IntRange(0, len(b.Puts)).Draw(t, "landed")]
				late = append(late, func() {
					for _, p := range landed {
						log.put(p)
					}
				})
				if rapid.Bool().Draw(t, "at once") {
					late[len(late)-1]()
				}
				lead()
			case 2: // all die
				if rapid.IntRange(0, 3).Draw(t, "all die") > 0 {
					continue
				}
				for at, by := range recent {
					if now-at <= writeEvery+1000 {
						for account, c := range by {
							add(doubt, account, c) // nobody is left who knows what was not committed
						}
						delete(recent, at)
					}
				}
				clear(boots)
				for range 3 {
					boot()
				}
				board = NewBoard()
				now += 1000 * int64(rapid.IntRange(1, 150).Draw(t, "down"))
				lead()
			}
			if len(late) > 0 && rapid.Bool().Draw(t, "late write lands") {
				late[0]()
				late = late[1:]
			}
		}
		sample()
		log.write(m, now+writeEvery)
		for _, account := range accounts {
			for _, c := range counters {
				var want, less uint64
				if did[account] != nil {
					want = did[account][c]
				}
				if doubt[account] != nil {
					less = doubt[account][c]
				}
				if got := log.counted(t, AccountSeries(account), c); got > want || got < want-less {
					t.Errorf("%s: counter %d is %d, want %d; %d of it was done just before all died", account, c, got, want, less)
				}
			}
		}
	})
}
