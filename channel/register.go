package channel

import "time"

// register takes in what a gateway says it holds.
func (s *State) register(now Moment, in Input) {
	r := in.Register
	v := s.held.find(in.From)
	if v == nil {
		v = s.held.add(in.From)
	} else if !in.Fresh && r.Version < v.version {
		return // said again, late
	}
	s.sees(now, v, in.Fresh, parseSerial(r.Serial))
	v.version = r.Version
	s.setCounts(now, v, r.Counts)
	s.setConfirm(v, r.Confirm || v.confirm && !in.Fresh)
	s.setWatch(v, r, in.Fresh)
	if s.attached() && (in.Fresh || s.waiting || !now.Gated || s.profile.Meta) {
		s.open = true // who was there before stays, whatever the limit
	}
	if v.holdsNothing() {
		s.remove(v)
	}
}

// aheadMax is by how much what a gateway has seen may be ahead of the clock here and of all serials given. The clocks of
// owners differ by less; what is further ahead no owner gave, and to go on above it would spoil the channel's serials for
// good.
const aheadMax = time.Minute

// sees takes in what a gateway has seen of the channel. In a Snapshot that is where it has to go on from.
//
// Only a gateway's word moves a channel: it has heard the serial from an owner, and says so before a new owner serves
// anybody. A serial that comes from a client may be anybody's invention, see vouches.
func (s *State) sees(now Moment, v *vector, fresh bool, seen Stamp) {
	switch {
	case seen == (Stamp{}):
		return
	case s.tooFar(now, seen):
		v.lost = true
		return
	}
	s.knows(seen)
	if fresh && seen.less(s.since) {
		v.lost = true
	}
}

// tooFar says that no owner can have given a stamp.
func (s *State) tooFar(now Moment, seen Stamp) bool {
	return seen.ms > max(now.UnixMs, s.last.ms)+aheadMax.Milliseconds()
}

// knows takes in that a gateway stands at a stamp. Where that does not agree with what is kept here, somebody may have
// missed something. On a channel of which nothing is kept, the first point, or publish that is too old, tells where it
// stands.
func (s *State) knows(seen Stamp) {
	switch {
	case s.guessed && s.needsNoCopy(seen):
		s.guessed, s.shown, s.last = false, seen, maxStamp(s.last, seen)
	case s.guessed || !s.vouches(seen):
		s.unknown(seen)
	}
}

// needsNoCopy says of a stamp that nothing has to be kept for it to be one that was given: there is no message at a point,
// and those up to the bounds of what is kept are gone.
func (s *State) needsNoCopy(seen Stamp) bool {
	return seen.isPoint() || !s.since.less(seen) || !s.expired.less(seen)
}

// vouches says whether whoever claims to stand at a stamp misses nothing with what is kept behind it: a publish that is
// young enough to be kept is. It changes nothing.
func (s *State) vouches(seen Stamp) bool {
	return !s.shown.less(seen) && (s.needsNoCopy(seen) || s.past.has(seen))
}

// unknown takes in that a gateway has seen what is not known here: an owner before showed it without a copy. Others may
// have missed it, and who has seen it may hear it again, from a publisher that was not answered: all gateways are told.
// The channel goes on above it, so that a listener who stands there finds the next delivery out of its place, and is told
// before it hears that one.
func (s *State) unknown(seen Stamp) {
	above := seen
	switch {
	case seen.isPoint(): // nothing was heard there
	case seen.less(s.last):
		above = seen.next()
	default:
		above = pointAt(seen.ms)
	}
	if s.guessed {
		s.guessed, s.shown = false, above
	}
	s.last, s.since = maxStamp(s.last, above), maxStamp(s.since, above)
	if !s.past.pending() { // what is not shown yet is to follow on what is
		s.shown = maxStamp(s.shown, above)
	}
	for i := range s.held.len() {
		s.held.at(i).lost = true
	}
}

// drop forgets a gateway.
func (s *State) drop(now Moment, g Gateway) {
	v := s.held.find(g)
	if v == nil {
		return
	}
	s.setCounts(now, v, Counts{})
	s.setConfirm(v, false)
	if v.watch != nil {
		v.watch = nil
		s.watched--
	}
	s.remove(v)
}

func (s *State) remove(v *vector) {
	for i := range s.held.len() {
		if s.held.at(i) == v {
			s.held.remove(i)
			return
		}
	}
}

// setCounts replaces a vector's counts, keeps the sum and notes when the last holder or attachment goes.
func (s *State) setCounts(now Moment, v *vector, counts Counts) {
	wasHeld, wasAttached := s.isHeld(), s.attached()
	for c := range counts {
		n := max(counts[c], 0) // a negative number is nobody's truth
		if Category(c) == PresenceMembers {
			n = 0 // members are counted by the owner
		}
		s.sum[c] += n - v.counts[c]
		v.counts[c] = n
	}
	switch {
	case s.isHeld():
		s.vacateAt = 0
	case wasHeld:
		s.vacateAt = now.Since + s.profile.VacateDelay
	}
	if wasAttached && !s.attached() {
		s.usedAt = now.Since
	}
}

func (s *State) setConfirm(v *vector, confirm bool) {
	if confirm != v.confirm {
		v.confirm = confirm
		if confirm {
			s.owed++
		} else {
			s.owed--
		}
	}
}

// setWatch notes a gateway's watchers. Its first ones get their seed with the Registered they wait for. A gateway that
// watches anew without waiting for one, or whose session is new, is told at once: what it knows is unknown here.
func (s *State) setWatch(v *vector, r *Register, fresh bool) {
	switch {
	case r.Watchers <= 0:
		if v.watch != nil {
			v.watch = nil
			s.watched--
		}
	case v.watch == nil:
		v.watch = &watch{seeded: r.Confirm && !fresh}
		s.watched++
	case fresh:
		*v.watch = watch{}
	}
}

// isHeld reports whether what makes a channel occupied is there.
func (s *State) isHeld() bool {
	if s.profile.Meta {
		return false
	}
	if s.profile.OccupiedByConnections {
		return s.attached()
	}
	return s.sum[Subscribers] > 0
}

// listens reports attachments that messages or presence events go to; a member hears of itself.
func (c *Counts) listens() bool {
	return c[Subscribers] > 0 || c[PresenceSubscribers] > 0 || c[PresenceConnections] > 0
}

// attached reports any attachment, of whatever modes. Members are none: they may outlive theirs for a while.
func (s *State) attached() bool {
	c := s.sum
	c[PresenceMembers] = 0
	return c != Counts{}
}
