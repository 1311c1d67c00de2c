package meter

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// tableLog is a log in memory: the tables that a meter writes to.
type tableLog struct {
	tables  map[string]map[string]Put
	version uint64
}

func newTableLog() *tableLog { return &tableLog{tables: map[string]map[string]Put{}} }

func (l *tableLog) Rows(table string) (rows []Stored, version uint64) {
	for _, key := range slices.Sorted(maps.Keys(l.tables[table])) {
		rows = append(rows, Stored{key, l.tables[table][key].Value})
	}
	return rows, l.version
}

func (l *tableLog) Version(string) uint64 { return l.version }

func (l *tableLog) put(p Put) {
	if l.tables[p.Table] == nil {
		l.tables[p.Table] = map[string]Put{}
	}
	l.tables[p.Table][p.Key] = p
	l.version++
}

// write commits what is due.
func (l *tableLog) write(m *Meter, nowMs int64) {
	b := m.Due(nowMs, false)
	for _, p := range b.Puts {
		l.put(p)
	}
	for _, key := range b.Deletes {
		delete(l.tables[TableState], key)
		l.version++
	}
	m.Wrote(b)
}

// failer is a test, of either kind.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

func (l *tableLog) resume(t failer, term uint64) *Meter {
	t.Helper()
	rows, _ := l.Rows(TableState)
	m, err := Resume(term, rows, DefaultRetention, func(string) string { return "acme" })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (l *tableLog) find(t failer, q Query) []Entry {
	t.Helper()
	if q.Limit == 0 {
		q.Limit, q.ToMs = 1000, maxMs
	}
	list, _, err := NewArchive(l).Find(q)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

var march = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// TestAMonthOfUsers is 10,000 users who come during a month, each for a while and to a channel of its own, and one spike
// in which 500 are there at once, who share another channel.
func TestAMonthOfUsers(t *testing.T) {
	const users, atOnce, spike = 10_000, 12, 500
	log, board := newTableLog(), NewBoard()
	m := log.resume(t, 1)
	end := march.AddDate(0, 1, 0)
	every := end.Sub(march) / users
	n, opened := uint64(0), uint64(0)
	look := func(at time.Time, channels, connections int64) {
		n++
		board.Take("b1", &Report{N: n, Partitions: []Partition{{Part: 1, Epoch: 1, Open: map[string]int64{"app": channels}}},
			Apps: []App{{ID: "app", Connections: connections, Counters: Counters{ChannelsOpened: opened}}}})
		board.Live([]string{"b1"}, at.UnixMilli())
		m.Sample(at.UnixMilli(), board)
		log.write(m, at.UnixMilli())
	}
	for user := range users {
		at := march.Add(time.Duration(user) * every)
		opened++
		there := int64(user%atOnce + 1) // never many
		look(at, there, there)
		if user == users/2 {
			for i := range int64(spike) {
				opened++
				look(at.Add(time.Duration(i/100)*time.Second+time.Second), i+2, i+1)
			}
			look(at.Add(7*time.Second), 3, 3)
		}
	}
	look(end.Add(time.Second), 0, 0)
	months := log.find(t, Query{Series: AppSeries("app"), Unit: Month})
	if len(months) != 1 {
		t.Fatalf("%d months, want 1: %+v", len(months), months)
	}
	month := months[0]
	if got := month.Row.Channels.Peak; got != spike+1 {
		t.Errorf("peak channels of the month are %d, want %d", got, spike+1)
	}
	if got := month.Row.Connections.Peak; got != spike {
		t.Errorf("peak connections of the month are %d, want %d", got, spike)
	}
	if got := month.Row.Counters[ChannelsOpened]; got != opened {
		t.Errorf("%d channels opened in the month, want %d", got, opened)
	}
	// What the minutes add up to is what the coarser rows say.
	var sum Row
	for _, e := range entries(log, t, Minute) {
		sum.Merge(&e.Row)
	}
	if sum.Channels.Peak != month.Row.Channels.Peak || sum.Counters != month.Row.Counters {
		t.Errorf("the minutes add up to %+v, the month is %+v", sum, month.Row)
	}
	if month.Unit.ID(month.StartMs) != "2026-03" || month.AsOfMs != 0 {
		t.Errorf("the month is %s, as of %d", month.Unit.ID(month.StartMs), month.AsOfMs)
	}
}

// entries are all entries of the app's unit, page by page.
func entries(log *tableLog, t failer, u Unit) (all []Entry) {
	a := NewArchive(log)
	q := Query{Series: AppSeries("app"), Unit: u, ToMs: maxMs, Forwards: true, Limit: 1000}
	for {
		list, more, err := a.Find(q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
		if !more {
			return all
		}
		q.FromMs = u.End(list[len(list)-1].StartMs)
	}
}

// TestAppsOfOneAccount have their peaks at different times: the account's peak is the most there was at once.
func TestAppsOfOneAccount(t *testing.T) {
	log, board := newTableLog(), NewBoard()
	m := log.resume(t, 1)
	for i := range int64(60) {
		at := march.UnixMilli() + i*1000
		open := map[string]int64{"a": 10, "b": 10, "c": 10}
		open[[]string{"a", "b", "c"}[i/20]] = 100
		board.Take("b1", &Report{N: uint64(i) + 1, Partitions: []Partition{{Part: 0, Epoch: 1, Open: open}}})
		m.Sample(at, board)
		log.write(m, at)
	}
	for _, app := range []string{"a", "b", "c"} {
		if list := log.find(t, Query{Series: AppSeries(app)}); len(list) != 1 || list[0].Row.Channels.Peak != 100 || list[0].Row.Channels.Min != 10 {
			t.Errorf("app %s: %+v, want one minute from 10 to 100", app, list)
		}
	}
	list := log.find(t, Query{Series: AccountSeries("acme")})
	if len(list) != 1 || list[0].Row.Channels.Peak != 120 {
		t.Errorf("account: %+v, want a peak of 120", list)
	}
}

// world is a cluster as it really is, and the oracle of what its meter has to say.
type world struct {
	t       *rapid.T
	log     *tableLog
	boots   map[string]*realBoot // running
	boards  map[string]*Board    // each boot's
	owner   []string             // of the partitions; "" while it moves
	epoch   []uint64
	open    []int64 // in truth
	last    []int64 // as the owner said last
	said    []bool  // it has said anything since the ring was cut
	layout  uint64  // epoch that the ring was cut at
	before  *int64  // what stands for the partitions of which some have said nothing yet
	leader  string
	term    uint64
	meter   *Meter
	started int

	sampledMs int64

	minutes map[int64]*Row // the oracle's
}

type realBoot struct {
	n           uint64
	connections int64
	opened      uint64
}

func (w *world) boot() {
	w.started++
	id := fmt.Sprintf("boot%d", w.started)
	w.boots[id], w.boards[id] = &realBoot{}, NewBoard() // it hears of the others with their next reports
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.boots)) }

// second is one second of the world: everybody reports, the leader samples and maybe commits.
func (w *world) second(nowMs int64) {
	for _, id := range w.names() {
		b := w.boots[id]
		b.n++
		r := &Report{N: b.n, Layout: w.layout, Apps: []App{{ID: "app", Connections: b.connections, Counters: Counters{ChannelsOpened: b.opened}}}}
		for part, owner := range w.owner {
			if owner == id {
				r.Partitions = append(r.Partitions, Partition{Part: uint32(part), Epoch: w.epoch[part], Open: map[string]int64{"app": w.open[part]}})
				w.last[part], w.said[part] = w.open[part], true
			}
		}
		bytes := r.Append(nil)
		for _, board := range w.boards {
			got, err := DecodeReport(bytes)
			if err != nil {
				w.t.Fatal(err)
			}
			board.Take(id, got)
		}
	}
	for _, board := range w.boards {
		board.Live(w.names(), nowMs)
		board.Layout(w.layout, len(w.owner))
	}
	if !slices.Contains(w.said, false) {
		w.before = nil
	}
	if !w.boards[w.leader].Complete() {
		return
	}
	unknown := w.meter.chunks[chunkOf(AppSeries("app"))].series[AppSeries("app")] == nil
	w.meter.Sample(nowMs, w.boards[w.leader])
	w.sampledMs = nowMs
	// The oracle sees the same second.
	var v Now
	v.Channels = w.total()
	for _, b := range w.boots {
		v.Connections += b.connections
	}
	row := w.minutes[Minute.Start(nowMs)]
	if row == nil {
		row = &Row{}
		w.minutes[Minute.Start(nowMs)] = row
	}
	if unknown && nowMs > Minute.Start(nowMs) {
		row.sample(Now{}, 0) // what nobody ever spoke of was not there
	}
	row.sample(v, 0)
	w.log.write(w.meter, nowMs)
}

// total is what is open as far as anybody can know.
func (w *world) total() (n int64) {
	if w.before != nil {
		return *w.before
	}
	for _, last := range w.last {
		n += last
	}
	return n
}

// recut cuts the ring into n partitions. What is open is spread anew; nobody owns a partition yet.
func (w *world) recut(n int) {
	open := int64(0)
	for part, epoch := range w.epoch {
		open += w.open[part]
		w.layout = max(w.layout, epoch+1)
	}
	if w.before == nil && len(w.owner) > 0 {
		w.before = new(w.total())
	}
	w.owner, w.epoch, w.open = make([]string, n), make([]uint64, n), make([]int64, n)
	w.last, w.said = make([]int64, n), make([]bool, n)
	for part := range w.owner {
		w.epoch[part] = w.layout
		w.open[part] = open / int64(n-part)
		open -= w.open[part]
	}
}

// lead makes a boot the leader. The last one may have a write under way, which lands later.
func (w *world) lead(id string) (late func()) {
	late = func() {}
	if w.meter != nil {
		b := w.meter.Due(maxMs, true)
		late = func() {
			for _, p := range b.Puts {
				w.log.put(p)
			}
		}
	}
	w.term++
	w.leader, w.meter = id, w.log.resume(w.t, w.term)
	return late
}

// TestAnyHistory lets owners and leaders die, partitions move and the whole cluster stop, and has the meter's minutes
// compared with what was there.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, log: newTableLog(), boots: map[string]*realBoot{}, boards: map[string]*Board{}, minutes: map[int64]*Row{}}
		for range 3 {
			w.boot()
		}
		w.recut(4)
		pick := func() string { return rapid.SampledFrom(w.names()).Draw(t, "boot") }
		for part := range w.owner {
			w.owner[part], w.epoch[part] = pick(), 1
		}
		w.lead(pick())
		w.second(march.UnixMilli()) // everybody has heard of everybody
		now := march.UnixMilli() + 1000
		var late []func()
		opened, doubt := uint64(0), uint64(0)
		recent := map[int64]uint64{} // what was opened, by when
		// Whoever leads has been there for a while: a log has no majority when two of three nodes died at once.
		elder := func(but string) string {
			var list []string
			for _, id := range w.names() {
				if b := w.boots[id]; id != but && b.n > writeEvery/1000 && w.boards[id].Complete() {
					list = append(list, id)
				}
			}
			if len(list) == 0 {
				return ""
			}
			return rapid.SampledFrom(list).Draw(t, "leader")
		}
		for range rapid.IntRange(20, 200).Draw(t, "seconds") {
			for range rapid.IntRange(0, 3).Draw(t, "events") {
				part := rapid.IntRange(0, len(w.owner)-1).Draw(t, "part")
				switch rapid.IntRange(0, 11).Draw(t, "event") {
				case 0, 1, 2, 3:
					if by := w.owner[part]; by != "" {
						n := int64(rapid.IntRange(1, 50).Draw(t, "opened"))
						w.open[part] += n
						w.boots[by].opened += uint64(n)
						opened += uint64(n)
						recent[now] += uint64(n)
					}
				case 4:
					if w.owner[part] != "" {
						w.open[part] -= min(w.open[part], int64(rapid.IntRange(1, 80).Draw(t, "closed")))
					}
				case 5:
					w.boots[pick()].connections = int64(rapid.IntRange(0, 100).Draw(t, "connections"))
				case 6: // begins to move
					if w.boards[w.leader].Complete() && w.before == nil {
						w.owner[part] = ""
					}
				case 7: // has moved
					if w.owner[part] == "" {
						w.owner[part] = pick()
						w.epoch[part]++
					}
				case 8: // an owner dies, and maybe leads; what it opened within this second nobody heard of
					id := pick()
					heir := elder(id)
					if heir == "" {
						continue
					}
					w.second(now) // its last words
					now += 1000
					delete(w.boots, id)
					delete(w.boards, id)
					for p := range w.owner {
						if w.owner[p] == id {
							w.owner[p] = ""
						}
					}
					if w.leader == id {
						late = append(late, w.lead(heir))
					}
					w.boot()
				case 10: // all die, and start again
					w.second(now)
					for at, n := range recent {
						if w.sampledMs-at <= writeEvery {
							doubt += n // nobody is left who knows what was not committed
							delete(recent, at)
						}
					}
					now += 1000 * int64(rapid.IntRange(1, 150).Draw(t, "down"))
					clear(w.boots)
					clear(w.boards)
					clear(w.open)
					clear(w.last)
					clear(w.said)
					w.before = nil
					for range 3 {
						w.boot()
					}
					for p := range w.owner {
						w.owner[p] = pick()
						w.epoch[p]++
					}
					late = append(late, w.lead(pick()))
				case 11:
					if w.boards[w.leader].Complete() {
						w.recut(rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "partitions"))
					}
				case 9:
					if heir := elder(""); heir != "" {
						late = append(late, w.lead(heir))
					}
				}
			}
			w.second(now)
			now += 1000
			if len(late) > 0 && rapid.Bool().Draw(t, "late write lands") {
				late[0]()
				late = late[1:]
			}
		}
		for _, f := range late {
			f()
		}
		w.second(now) // whatever the deposed did, the leader's next commit stands
		w.log.write(w.meter, now+writeEvery)
		var total uint64
		seen := map[int64]bool{}
		for _, e := range w.log.find(t, Query{Series: AppSeries("app")}) {
			total += e.Row.Counters[ChannelsOpened]
			seen[e.StartMs] = true
			want := w.minutes[e.StartMs]
			if want == nil {
				t.Fatalf("minute %s was never", Minute.ID(e.StartMs))
			}
			if got := e.Row; got.Channels.Peak != want.Channels.Peak || got.Channels.Min != want.Channels.Min ||
				got.Connections.Peak != want.Connections.Peak || got.Connections.Min != want.Connections.Min {
				t.Errorf("minute %s: %+v, want %+v", Minute.ID(e.StartMs), got, *want)
			}
			if m := e.Row.Mean(&e.Row.Channels); m < float64(want.Channels.Min) || m > float64(want.Channels.Peak) {
				t.Errorf("minute %s: mean %v is not from %d to %d", Minute.ID(e.StartMs), m, want.Channels.Min, want.Channels.Peak)
			}
		}
		for start, want := range w.minutes {
			if want.Active() && !seen[start] {
				t.Errorf("minute %s is missing", Minute.ID(start))
			}
		}
		if total > opened || total < opened-doubt {
			t.Errorf("%d channels were opened, %d of them just before all died; the minutes say %d", opened, doubt, total)
		}
		var hours uint64
		for _, e := range w.log.find(t, Query{Series: AppSeries("app"), Unit: Hour}) {
			hours += e.Row.Counters[ChannelsOpened]
		}
		if hours != total {
			t.Errorf("the minutes say that %d channels were opened, the hours say %d", total, hours)
		}
	})
}
