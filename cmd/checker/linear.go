package checker

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// step is one operation on a channel: an attach is confirmed, a client surely begins or ceases to hold it, or the log
// decides an event.
type step struct {
	confirms, begins, ceases bool
	event                    Event
}

// state is a channel as the log must see it.
type state struct {
	occupied uint64 // seq of the occupied that nothing has ended; 0 when vacated
	holders  int    // who surely hold it
}

// model says which operations are possible when. Only of an occupied channel an attach is confirmed or a hold begins, and
// only a channel that nobody holds is vacated.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(at, input, _ any) (bool, any) {
		s := at.(state)
		switch op := input.(step); {
		case op.confirms:
			return s.occupied != 0, s
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
// operation falls between its begin and its end as seen from outside and which [model] allows. An attach is confirmed
// between ATTACH and ATTACHED; a client holds from then until it surely held last ([History.Sure]), give or take the way of
// a frame; an event is decided between its time and its first receipt. received says when that was, by id. It returns how many channels could not be judged in
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
		add(a.Channel, step{confirms: true}, a.Asked, a.Confirmed)
		// What was confirmed may be over when the client hears of it: only from then until it surely held is it held. To begin
		// later or to cease earlier would leave things unexplained that this explains, never the other way round.
		if margin := h.slack(to); to.Sub(from) > 2*margin {
			add(a.Channel, step{begins: true}, from, from.Add(margin))
			if !a.Left.IsZero() || to.Before(h.End) {
				add(a.Channel, step{ceases: true}, to.Add(-margin), to)
			}
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
