package sim

import "strings"

// CheckContinuity judges G7 over what clients heard. A client hears a channel in the order of serials, nothing twice, and
// what one connection published in the order in which it did. Between two messages that it heard no acknowledged one is
// missing; and who still listens at the end has heard all that was published since it began. All that holds until the
// client is told of a gap. Unless the history is Gentle, what one owner acknowledged may be missing behind the next one's
// messages: an owner that could not reach its follower, and then was gone itself, leaves no copy.
func CheckContinuity(h *History) []Violation {
	l := list{promise: "G7"}
	type name struct{ client, number int }
	messages := make(map[name]Message)
	byChannel := make(map[string][]Message)
	for _, m := range h.Messages {
		n := name{m.Client, m.Number}
		messages[n] = m
		if !m.Acked.IsZero() {
			byChannel[m.Channel] = append(byChannel[m.Channel], m)
			if m.Serial == "" {
				l.add(m.Channel, m.Acked, "message %s was acknowledged without a serial", data(m.Client, m.Number))
			}
		}
	}
	for _, r := range h.Listenings {
		has := make(map[name]bool, len(r.Heard))
		latest := make(map[string]Message) // by connection
		last := ""
		for _, x := range r.Heard {
			n := name{x.Client, x.Number}
			m, known := messages[n]
			text := data(x.Client, x.Number)
			if !known || m.Channel != r.Channel {
				l.add(r.Channel, x.At, "client %d heard message %s, which nobody published there", r.Client, text)
				continue
			}
			switch {
			case has[n]:
				l.add(r.Channel, x.At, "client %d heard message %s twice since %s", r.Client, text, clock(r.From))
			case x.Serial <= last:
				l.add(r.Channel, x.At, "client %d heard message %s with serial %s after %s", r.Client, text, x.Serial, last)
			}
			if before, ok := latest[m.Conn]; ok && before.Number > m.Number && !has[n] {
				l.add(r.Channel, x.At, "client %d heard message %s after %s of the same connection", r.Client, text, data(before.Client, before.Number))
			}
			latest[m.Conn] = m
			has[n] = true
			last = max(last, x.Serial)
		}
		for _, m := range byChannel[r.Channel] {
			if has[name{m.Client, m.Number}] || m.Asked.Before(r.From) {
				continue
			}
			switch {
			case !h.Gentle && series(m.Serial) != series(r.next(m.Serial)):
			case m.Serial < last:
				l.add(r.Channel, m.Acked, "client %d listened since %s and heard %s, and not message %s before it (%s, acknowledged at %s)",
					r.Client, clock(r.From), last, data(m.Client, m.Number), m.Serial, clock(m.Acked))
			case r.To.IsZero() && h.online(r.Client):
				l.add(r.Channel, m.Acked, "client %d listens since %s and never heard message %s (%s, acknowledged at %s)",
					r.Client, clock(r.From), data(m.Client, m.Number), m.Serial, clock(m.Acked))
			}
		}
	}
	return l.found
}

// series is the part of a serial that names the owner which gave it.
func series(serial string) string {
	_, of, _ := strings.Cut(serial, "@")
	of, _, _ = strings.Cut(of, ":")
	return of
}

// next is the first serial that was heard behind another one, the other one where there is none.
func (r *Listening) next(serial string) string {
	for _, x := range r.Heard {
		if x.Serial > serial {
			return x.Serial
		}
	}
	return serial
}

// online says whether a client was connected at the end.
func (h *History) online(client int) bool { return len(h.Wanted[client]) > 0 }

// CheckNoGap judges runs in which nothing excuses a gap: nobody was told of one, and each message is on its channel once,
// under the serial that its publisher was told.
func CheckNoGap(h *History) []Violation {
	l := list{promise: "G7"}
	type name struct{ client, number int }
	serials := make(map[name]string)
	for _, m := range h.Messages {
		if !m.Acked.IsZero() {
			serials[name{m.Client, m.Number}] = m.Serial
		}
	}
	for _, r := range h.Listenings {
		if r.Gap != "" {
			l.add(r.Channel, r.To, "client %d was told at %s that it missed something: %s", r.Client, clock(r.To), r.Gap)
		}
		for _, x := range r.Heard {
			n := name{x.Client, x.Number}
			if s, ok := serials[n]; ok && s != x.Serial {
				l.add(r.Channel, x.At, "client %d heard message %s under serial %s, and it is %s elsewhere", r.Client, data(x.Client, x.Number), x.Serial, s)
			}
			serials[n] = x.Serial
		}
	}
	return l.found
}
