package checker

import (
	"maps"
	"slices"
	"time"
)

// Judge judges G2, G3 and G9 by what clients saw.
func Judge(h *History) []Violation {
	return slices.Concat(Orphans(h), Invented(h), EndState(h), FalseVacated(h))
}

func (f *found) addChannel(promise string, h *History, channel, format string, args ...any) {
	f.add(promise, Event{App: h.App, Channel: channel}, format, args...)
}

func byChannel(log []Event) map[string][]Event {
	out := make(map[string][]Event)
	for _, e := range log {
		out[e.Channel] = append(out[e.Channel], e)
	}
	return out
}

// Orphans judges the first half of G2: when an attach was confirmed, its channel was occupied in the log.
func Orphans(h *History) []Violation {
	var f found
	logs := byChannel(h.Log)
	for _, a := range h.Attachments {
		if !a.Confirmed.IsZero() && !occupiedWithin(logs[a.Channel], a.Asked, a.Confirmed) {
			f.addChannel("G2", h, a.Channel, "client %s was confirmed by %s at %s (asked at %s) and no occupied was decided by then",
				a.Client, a.Node, clock(a.Confirmed), clock(a.Asked))
		}
	}
	return f
}

// occupiedWithin says whether the log has the channel occupied at some instant of [from, to].
func occupiedWithin(events []Event, from, to time.Time) bool {
	for i := len(events) - 1; i >= 0; i-- {
		switch {
		case at(events[i]).After(to): // later
		case events[i].Type == occupied:
			return true
		case at(events[i]).Before(from.Truncate(time.Millisecond)):
			return false // vacated before, and nothing since
		}
	}
	return false
}

// Invented judges that nothing became occupied that nobody had asked for (G2).
func Invented(h *History) []Violation {
	var f found
	asked := make(map[string][]Attachment)
	for _, a := range h.Attachments {
		asked[a.Channel] = append(asked[a.Channel], a)
	}
	for _, e := range h.Log {
		if e.Type != occupied {
			continue
		}
		t := at(e)
		if !slices.ContainsFunc(asked[e.Channel], func(a Attachment) bool {
			return a.Asked.Before(t.Add(h.slack(t))) && (a.Left.IsZero() || a.Left.Add(lagMax).After(t))
		}) {
			f.add("G2", e, "%v was decided at %s, and nobody had asked for the channel", e, clock(t))
		}
	}
	return f
}

// EndState judges the second half of G2, for a history that ended after a long quiet: exactly the channels that somebody
// holds are occupied.
func EndState(h *History) []Violation {
	var f found
	logs, held := byChannel(h.Log), h.held()
	for _, channel := range slices.Sorted(maps.Keys(logs)) {
		last := logs[channel][len(logs[channel])-1]
		switch {
		case last.Type == occupied && held[channel] == 0:
			f.add("G2", last, "%v was never ended, and nobody holds the channel", last)
		case last.Type == vacated && held[channel] > 0:
			f.add("G3", last, "%v is the channel's last event, and %d hold it", last, held[channel])
		}
	}
	for _, channel := range slices.Sorted(maps.Keys(held)) {
		if len(logs[channel]) == 0 {
			f.addChannel("G2", h, channel, "%d hold it and it was never occupied", held[channel])
		}
	}
	return f
}

// FalseVacated judges G3 and G9: a vacated decided at T says that the channel was empty from T less the delay until T. No
// client may surely have held it at any instant of that time. Where the client's node was cut off from the others, it is
// G9: the client was not sent away before somebody else decided.
func FalseVacated(h *History) []Violation {
	var f found
	type sure struct {
		Attachment
		from, to time.Time
	}
	all := make(map[string][]sure)
	for _, a := range h.Attachments {
		if from, to := h.Sure(a); from.Before(to) {
			all[a.Channel] = append(all[a.Channel], sure{a, from, to})
		}
	}
	for _, e := range h.Log {
		if e.Type != vacated {
			continue
		}
		until := at(e).Add(-h.slack(at(e)))
		since := at(e).Add(h.slack(at(e)) - h.Delay)
		if !since.Before(until) {
			since = until // busier than the delay is long: only the instant itself can be judged
		}
		for _, s := range all[e.Channel] {
			if s.from.Before(until) && s.to.After(since) {
				promise := "G3"
				if h.cutOff(s.Node, s.to) {
					promise = "G9"
				}
				f.add(promise, e, "%v was decided at %s, and client %s was attached at %s from %s to %s",
					e, clock(at(e)), s.Client, s.Node, clock(s.from), clock(s.to))
				break
			}
		}
	}
	return f
}

// cutOff says whether a node was cut off at an instant, or had been just before.
func (h *History) cutOff(node string, t time.Time) bool {
	return slices.ContainsFunc(h.Outages, func(o Outage) bool {
		return o.Node == node && o.Harm == Cut && o.From.Before(t) && (o.To.IsZero() || o.To.Add(weak).After(t))
	})
}

// Counts judges G6: after a long quiet every node says of every channel how many hold it. said is by node and channel.
func Counts(h *History, said map[string]map[string]int) []Violation {
	var f found
	held := h.held()
	for _, node := range slices.Sorted(maps.Keys(said)) {
		for _, channel := range slices.Sorted(maps.Keys(said[node])) {
			if n := said[node][channel]; n != held[channel] {
				f.addChannel("G6", h, channel, "%s says that %d hold it, and %d do", node, n, held[channel])
			}
		}
		for _, channel := range slices.Sorted(maps.Keys(held)) {
			if _, ok := said[node][channel]; !ok {
				f.addChannel("G6", h, channel, "%s does not know it, and %d hold it", node, held[channel])
			}
		}
	}
	return f
}

// clock is a time of day in messages.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
