package transport

import (
	"maps"
	"slices"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// wishes is what an attachment wants other than whole messages, each as it was published.
type wishes struct {
	wholeAppends bool // appended text comes as all of its message
	deltas       bool // messages may come as what makes them of the one before
	last         *channel.Delivery
}

// parseWishes reads the params delta and appendMode; nil when they ask for nothing.
func parseWishes(params map[string]string, granted protocol.Flags) *wishes {
	w := wishes{wholeAppends: params["appendMode"] == "full", deltas: params["delta"] == "vcdiff"}
	if !granted.Has(protocol.ModeSubscribe) || w == (wishes{}) {
		return nil
	}
	return &w
}

// anew says that what comes next does not follow on what was sent.
func (w *wishes) anew() {
	if w != nil {
		w.last = nil
	}
}

// lostTrack says whether an ATTACH in place comes from a client that could not apply a delta: it changes nothing and
// stands behind what it was sent. It drops what is on its way and has to be told again.
func (a *attachment) lostTrack(o *attachOrder) bool {
	return a.attached && a.wants != nil && a.wants.deltas && o.serial != "" && newer(a.ch.serial, o.serial) &&
		a.granted == o.granted && maps.Equal(a.params, o.params)
}

// watches says whether the channel's owner counts the attachment as a watcher. One that hears annotations
// and nothing else is counted, since owners send to gateways with watchers as well.
func (a *attachment) watches() bool {
	return a.watch != nil || a.granted&(protocol.ModeAnnotationSubscribe|protocol.ModeSubscribe|protocol.ModePresenceSubscribe|protocol.ModePresence) == protocol.ModeAnnotationSubscribe
}

// deaf says whether an attachment does not want its own connection's publish back.
func (a *attachment) deaf(d *channel.Delivery) bool {
	return a.noEcho || protocol.EchoUnwanted(d.Messages)
}

// variant is a form of a delivery.
type variant uint8

const (
	plain       variant = iota
	whole               // all of the message in place of appended text
	summaries           // of annotations
	annotations         // themselves
)

// form is a delivery in another form, made once for all who want it.
type form struct {
	as   variant
	base *channel.Delivery // of a delta
	d    *channel.Delivery // nil: the delta would be no smaller
}

// passForm sends a publish to one attachment, where it is not as simple as one message frame for everybody.
func (s *shard) passForm(a *attachment, d *channel.Delivery) (sent bool) {
	key := frameKey{format: a.conn.format, name: a.name}
	s.frames.turn(d)
	as := d
	switch {
	case protocol.Annotations(d):
		if a.granted.Has(protocol.ModeAnnotationSubscribe) {
			key.as = annotations
			s.send(a.conn, s.frames.encoded(&s.out, d, key, d))
			sent = true
		}
		key.as = summaries
		as = s.frames.form(d, summaries)
	case a.wants != nil && a.wants.wholeAppends && len(d.Messages) > 0 && d.Messages[0].Edit != nil:
		key.as = whole
		as = s.frames.form(d, whole)
	}
	if !a.granted.Has(protocol.ModeSubscribe) || len(as.Messages) == 0 || as.ConnID != "" && as.ConnID == a.conn.id && a.deaf(as) {
		return sent
	}
	if w := a.wants; w != nil && w.deltas {
		base := w.last
		w.last = as
		if delta := s.frames.delta(key.as, as, base); delta != nil {
			as, key.base = delta, base
		}
	}
	s.send(a.conn, s.frames.encoded(&s.out, d, key, as))
	return true
}

// encoded is the frame of an event in some form.
func (f *frameCache) encoded(fl *flusher, of *channel.Delivery, key frameKey, as *channel.Delivery) []byte {
	if frame := f.find(of, key); frame != nil {
		return frame
	}
	if key.as == annotations {
		fl.encode = protocol.AppendAnnotations(begin(fl.encode), key.format, key.name, as)
	} else {
		fl.encode = protocol.AppendMessage(begin(fl.encode), key.format, key.name, as)
	}
	return f.keep(key, fl.encode)
}

// form is the event's delivery in some form.
func (f *frameCache) form(d *channel.Delivery, as variant) *channel.Delivery {
	if i := slices.IndexFunc(f.forms, func(x form) bool { return x.as == as && x.base == nil }); i >= 0 {
		return f.forms[i].d
	}
	made := form{as: as}
	if as == whole {
		made.d = protocol.Full(d)
	} else {
		made.d = protocol.Summaries(d)
	}
	f.forms = append(f.forms, made)
	return made.d
}

// delta is a form of the event's delivery as what makes it of another; nil when it has to be sent whole.
func (f *frameCache) delta(as variant, d, base *channel.Delivery) *channel.Delivery {
	if base == nil {
		return nil
	}
	if i := slices.IndexFunc(f.forms, func(x form) bool { return x.as == as && x.base == base }); i >= 0 {
		return f.forms[i].d
	}
	made := form{as: as, base: base, d: deltaOf(base, d)}
	f.forms = append(f.forms, made)
	return made.d
}
