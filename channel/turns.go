package channel

import "strings"

// turns is the greatest msgSerial of what each connection has published here. It is kept while publishes of owners before
// may be said again of which nothing is known here, since those owners and whoever had their copies are gone.
//
// A client says again what it has no answer to, and the answers of a connection come in order: what is said again may have
// been taken long ago, by an owner before, while its answer waited for that of another channel. Its gateway knew, and went on
// with what came behind it. This owner has taken that; what comes again now would be put behind it.
type turns map[string]*int64

// turnPassed says of a publish that is not known here that later ones of its connection were taken. Either it was taken by an
// owner before, or it was refused; there is no place for it any more.
func (s *State) turnPassed(now Moment, p *Publish) bool {
	if s.past == nil || !s.hasTurn(now, p) {
		return false
	}
	last := s.past.turns[p.ConnID]
	return last != nil && p.MsgSerial < *last
}

// takeTurn notes the turn of a publish that was kept.
func (s *State) takeTurn(now Moment, p *Publish) {
	if !s.hasTurn(now, p) {
		return
	}
	h := s.past
	last := h.turns[p.ConnID]
	if last == nil {
		if h.turns == nil {
			h.turns = make(turns)
		}
		last = new(int64)
		h.turns[strings.Clone(p.ConnID)] = last
	}
	*last = p.MsgSerial
}

// hasTurn says whether the order of a publish is looked after. What is older than ids are kept is not said again; and where
// no messages are kept nothing is known again anyway.
func (s *State) hasTurn(now Moment, p *Publish) bool {
	return now.Age < s.profile.idRetention() && s.profile.Retention > 0 && p.ConnID != "" && p.MsgSerial != NoSerial
}
