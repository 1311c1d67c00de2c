package channel

import (
	"slices"
	"time"
)

// Admission gives leave to open channels, where an app may not have as many as it likes. Its methods do not block.
type Admission interface {
	// Limited says whether channels of an app need leave. It is asked once per batch of a channel that is closed.
	Limited(app string) bool
	// Ask asks for one channel. done is called exactly once, from any goroutine, perhaps before Ask returns. Who was
	// Accepted calls Settle once, with what makes the channel count as open, or nil if it will not be opened. Settle runs
	// it, in a way that whoever counts what is open and what has leave to be sees the channel once.
	Ask(app string, done func(Refusal))
	Settle(app string, open func())
}

// Refused answers the Registers of a channel that may not open, up to Version, in place of Registered: the gateway holds
// nothing there, as far as the owner is concerned.
type Refused struct {
	App, Name string
	Version   uint64
	Why       Refusal
}

func (*Refused) toGateway() {}

// asking is a channel that is closed and waits for leave to open.
type asking struct {
	held []Input // what clients asked for meanwhile
}

// heldMax bounds what waits for leave, or for a lease, on one channel.
const heldMax = 256

// mustAsk says whether what was asked for would open the channel, and needs leave for that.
func (s *State) mustAsk(now Moment) bool {
	return !s.open && !s.waiting && now.Leased && now.Gated && !s.profile.Meta
}

// hold keeps what a client asked for until there is leave.
func (s *State) hold(now Moment, in Input, effects []Effect) []Effect {
	effects = s.ask(now, effects)
	if s.asking == nil || len(s.asking.held) >= heldMax {
		return s.refuse(in, Busy, effects)
	}
	s.asking.held = append(s.asking.held, in)
	return effects
}

// park keeps what a publisher asked for until there is a lease again, or the tenure ends and its gateway asks the next
// owner. If it were refused, what the same publisher sent after it could come when the lease does, and be before it.
func (s *State) park(now Moment, in Input, effects []Effect) []Effect {
	if len(s.parked) >= heldMax {
		return s.refuse(in, Busy, effects)
	}
	s.parked = append(s.parked, in)
	return s.settle(now, effects)
}

// unpark does what was asked for while there was no lease.
func (s *State) unpark(now Moment, effects []Effect) []Effect {
	parked := s.parked
	s.parked = nil
	for _, in := range parked {
		effects = s.Step(now, in, effects)
	}
	return effects
}

// overtaken looks after changes of members that wait for leave or a lease while their gateway says more. Of connections that
// have left nothing is left to be done: they would come back, and nobody would take them away. What came before a Snapshot,
// or of a gateway that is gone, is forgotten (all): it is asked again if it still counts.
func (s *State) overtaken(from Gateway, all bool, holds []Hold) {
	waits := [...]*[]Input{&s.parked, nil}
	if s.asking != nil {
		waits[1] = &s.asking.held
	}
	for _, list := range waits {
		if list == nil || len(*list) == 0 {
			continue
		}
		*list = slices.DeleteFunc(*list, func(in Input) bool { return all && in.Kind == InPresence && in.From == from })
		for i := range *list {
			in := &(*list)[i]
			if in.Kind == InPresence && in.From == from && slices.ContainsFunc(holds, func(h Hold) bool {
				return h.State == HoldOver && h.ConnID == in.Presence.ConnID
			}) {
				in.Presence = &PresenceChange{App: s.app, Name: s.name, Req: in.Presence.Req, ConnID: in.Presence.ConnID}
			}
		}
	}
}

// ask asks for leave, unless that was done or nothing needs it any more.
func (s *State) ask(now Moment, effects []Effect) []Effect {
	if s.asking != nil {
		return effects
	}
	if !now.Gated || s.profile.Meta {
		s.open = true // the limit is gone
		return effects
	}
	s.asking = &asking{}
	return append(effects, Effect{Ask: true})
}

// answerLeave goes on with what waited for leave, or refuses it.
func (s *State) answerLeave(now Moment, why Refusal, effects []Effect) []Effect {
	if s.asking == nil {
		return effects
	}
	held := s.asking.held
	s.asking = nil
	if why != Accepted && !s.open {
		for _, in := range held {
			effects = s.refuse(in, why, effects)
		}
		return s.turnAway(now, why, effects)
	}
	if s.attached() || len(held) > 0 {
		s.open, s.usedAt = true, now.Since
	}
	for _, in := range held {
		effects = s.Step(now, in, effects)
	}
	return effects
}

// refuse answers what a client asked for.
func (s *State) refuse(in Input, why Refusal, effects []Effect) []Effect {
	req := uint64(0)
	if in.Kind == InPublish {
		req = in.Publish.Req
	} else {
		req = in.Presence.Req
	}
	return append(effects, Effect{To: in.From, Message: &Published{Req: req, Refusal: why}})
}

// turnAway tells all gateways that the channel is not opened for them, and forgets what they hold.
func (s *State) turnAway(now Moment, why Refusal, effects []Effect) []Effect {
	for i := s.held.len() - 1; i >= 0; i-- {
		v := s.held.at(i)
		effects = append(effects, Effect{To: v.gateway, Message: &Refused{App: s.app, Name: s.name, Version: v.version, Why: why}})
		s.setCounts(now, v, Counts{})
		s.setConfirm(v, false)
		if v.watch != nil {
			v.watch = nil
			s.watched--
		}
		s.held.remove(i)
	}
	return effects
}

// bucket is what is left of a second's worth of publishes. A channel has one owner, so the rate is exact.
type bucket struct {
	spent float64
	at    time.Duration
}

// mayPublish takes n messages off the channel's rate. More than a second's worth is let through when nothing was published
// for long enough.
func (s *State) mayPublish(now Moment, n int) bool {
	limit := float64(s.profile.MessageRate)
	if limit == 0 {
		s.rate = nil
		return true
	}
	if s.rate == nil {
		s.rate = &bucket{at: now.Since}
	}
	b := s.rate
	b.spent = max(b.spent-limit*(now.Since-b.at).Seconds(), 0)
	b.at = now.Since
	if b.spent > 0 && b.spent+float64(n) > limit {
		return false
	}
	b.spent += float64(n)
	return true
}
