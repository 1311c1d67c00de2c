package checker

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// step is one operation on a channel: a client begins or ceases to hold it, or the log decides an event.
type step struct {
	begins, ceases bool
	event          Event
}

// state is a channel as the log must see it.
type state struct {
	occupied uint64 // seq of the occupied that nothing has ended; 0 when vacated
	holders  int    // whose attach was confirmed and who surely did not let go yet
}

// model says which operations are possible when. A client begins to hold only an occupied channel, and only a channel that
// nobody holds is vacated.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(at, input, _ any) (bool, any) {
		s := at.(state)
		switch op := input.(step); {
		case op.begins:
			s.holders++
			return s.occupied != 0, s
		case op.ceases:
			s.holders--
			return s.holders >= 0, s
		case op.event.Type == occupied:
			free := s.occupied == 0
			s.occupied = op.event.Seq
			return free, s
		default:
			ok := s.holders == 0 && s.occupied == op.event.Ends
			s.occupied = 0
			return ok, s
		}
	},
}

// linearMax bounds the search for one channel.
const linearMax = 10 * time.Second

// Linear judges G1, G2 and G3 together by one rule: per channel, there is an order of all that happened in which each
// operation falls between its begin and its end as seen from outside and which [model] allows. A client begins to hold
// between its ATTACH and the confirmation, and ceases when it surely held it last; an event is decided between its
// time and its first receipt. received says when that was, by id. It returns how many channels could not be judged in
// bounded time, besides the violations.
func Linear(h *History, received map[string]time.Time) (violations []Violation, unknown int) {
	ops := make(map[string][]porcupine.Operation)
	add := func(channel string, s step, from, to time.Time) {
		if to.Before(from) {
			to = from
		}
		ops[channel] = append(ops[channel], porcupine.Operation{Input: s, Call: from.UnixNano(), Return: to.UnixNano()})
	}
	for _, a := range h.Attachments {
		from, to := h.Sure(a)
		if a.Confirmed.IsZero() {
			continue
		}
		add(a.Channel, step{begins: true}, a.Asked, a.Confirmed)
		if from.After(to) {
			to = from
		}
		if !a.Left.IsZero() {
			// It may cease later than this, which would explain nothing that this does not.
			add(a.Channel, step{ceases: true}, maxTime(to.Add(-h.slack(to)), a.Asked), to)
		}
	}
	for _, e := range h.Log {
		until, ok := received[e.ID]
		if !ok {
			until = h.End
		}
		add(e.Channel, step{event: e}, at(e), until)
	}
	var f found
	for _, channel := range slices.Sorted(maps.Keys(ops)) {
		// Each operation has a client of its own: what is known of their order is in their times.
		slices.SortStableFunc(ops[channel], func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for i := range ops[channel] {
			ops[channel][i].ClientId = i
		}
		switch porcupine.CheckOperationsTimeout(model, ops[channel], linearMax) {
		case porcupine.Unknown:
			unknown++
		case porcupine.Illegal:
			f = append(f, Violation{"G2", h.App, channel, 0, "no order of its attaches and events explains what clients and the receiver saw"})
		}
	}
	return f, unknown
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
