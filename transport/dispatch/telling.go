package dispatch

import (
	"slices"
	"time"

	"innkeeper/channel"
)

// batchBytes bounds the body of a batched request, unless one publish alone exceeds it: many servers take a mebibyte and no
// more.
const batchBytes = 1_000_000

// itemBytes is more than what a batched request says of an item beside its data.
const itemBytes = 512

// tapItem is an item that waits for its request.
type tapItem struct {
	Item
	turn int    // which of the turns it is of
	upTo string // position up to which the channel is told with it; "": its publish goes on
	last bool   // of what was read of the channel
}

// tapItems are the items of a turn, for which told is the position behind all that was read. A position stands behind a
// whole publish: where each message has a request and one fails, all of its publish is told again.
func tapItems(turn int, items []Item, told string) []tapItem {
	list := make([]tapItem, len(items))
	for i := range items {
		t := &list[i]
		t.Item, t.turn, t.last = items[i], turn, i+1 == len(items)
		if t.last {
			t.upTo = told
		} else if items[i].Serial != items[i+1].Serial {
			t.upTo = channel.SerialPosition(items[i].Serial)
		}
	}
	return list
}

// fill says how many of the items the next request tells: as many as hold no more than so many events and bytes, and one at
// least. full says that it would be as many if more waited.
func fill(items []tapItem, events, bytes int) (n int, full bool) {
	for ; n < len(items); n++ {
		events -= max(items[n].Count, 1)
		bytes -= len(items[n].Data) + itemBytes
		if n > 0 && (events < 0 || bytes < 0) {
			return n, true
		}
	}
	return n, events <= 0 || bytes <= 0
}

// telling is a turn under way: what was read of its channels goes out in as many requests as it takes, one after the other.
type telling struct {
	*tapper
	until    time.Time // only the first request begins later
	requests int       // made
	results  []tapDone // by turn: what is told by now
	read     []tapDone // by turn: what will be when all is told that was read
	waiting  []tapItem
	failure  error // of the last request
}

// turn reads the channels' news and tells them. A request that was accepted counts, whatever becomes of those behind it. What
// is not told in the time in which a node may send without asking whether it still owns the channels is left to another
// turn.
func (k *tapper) turn(turns []tapTurn) {
	t := telling{
		tapper: k, until: time.Now().Add(k.taps.cfg.LeaseTTL - k.rule.Timeout),
		results: make([]tapDone, len(turns)), read: make([]tapDone, len(turns)),
	}
	for i := range turns {
		t.results[i] = tapDone{tapTurn: turns[i], told: turns[i].cursor}
		t.read[i] = t.results[i]
	}
	for i := range turns {
		if t.failure != nil || t.late() {
			break
		}
		items := k.news(&turns[i], &t.read[i])
		if len(items) == 0 {
			t.results[i] = t.read[i]
			k.taps.progress(k, &t.results[i])
			continue
		}
		t.waiting = append(t.waiting, tapItems(i, items, t.read[i].told)...)
		t.send(false)
	}
	t.send(true)
	if k.ctx.Err() != nil {
		t.failure = nil // given up by us
	}
	k.settle(t.results, t.failure)
}

func (t *telling) late() bool { return t.requests > 0 && time.Now().After(t.until) }

// send makes the requests that are full, or all.
func (t *telling) send(all bool) {
	for t.failure == nil && !t.late() {
		t.dropOver()
		n, full := fill(t.waiting, t.rule.Batch, batchBytes)
		if n == 0 || !full && !all {
			return
		}
		t.requests++
		if t.failure = t.request(t.waiting[:n]); t.failure == nil {
			t.accepted(t.waiting[:n])
			t.waiting = t.waiting[n:]
		}
	}
}

// dropOver forgets what waits of channels that have another owner by now.
func (t *telling) dropOver() {
	t.taps.mu.Lock()
	defer t.taps.mu.Unlock()
	t.waiting = slices.DeleteFunc(t.waiting, func(it tapItem) bool { return t.queue.over(t.results[it.turn].tapKey) })
}

// accepted notes how far items brought their channels.
func (t *telling) accepted(items []tapItem) {
	for i := range items {
		it := &items[i]
		d := &t.results[it.turn]
		if it.upTo != "" {
			d.told = it.upTo
		}
		if it.last {
			*d = t.read[it.turn]
		}
		if i+1 == len(items) || items[i+1].turn != it.turn {
			t.taps.progress(t.tapper, d)
		}
	}
}

// request makes one request.
func (k *tapper) request(waiting []tapItem) error {
	items, ids := make([]Item, len(waiting)), make([]Event, len(waiting))
	for i := range waiting {
		items[i] = waiting[i].Item
		ids[i].ID = items[i].Channel + "/" + items[i].ID
	}
	payload, form := AblyRequest(&k.rule, k.site(), items)
	k.tally.attempt()
	err := k.sink.post(k.ctx, payload, form, ids)
	if err == nil {
		k.tally.accepted(len(items), 0)
	}
	return err
}
