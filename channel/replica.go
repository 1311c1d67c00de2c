package channel

import "time"

// replica is a copy of a partition's history: kept for its owner by the follower, or left behind by the owner itself when
// its tenure ended. Guarded by the partition's lock.
type replica struct {
	epoch    uint64 // of the tenure whose publishes these are
	stream   uint64
	from     GatewayID
	parts    uint64 // CopyParts taken of what is old
	taken    uint64 // and all
	complete bool   // all of it is here, and of what follows all that is acknowledged
	since    Stamp  // all publishes behind it were kept by somebody who passed them on
	floor    Stamp  // above all serials given
	channels map[replicaKey]*copied
	order    []Position // of the channels, once no more come; see inOrder
}

type replicaKey struct{ app, name string }

type copied struct {
	history   // all of it shown
	since     Stamp
	retention time.Duration // as of Settings
	known     time.Duration // likewise: of ids
	present   presence      // its members alone
	told      Stamp         // what was told to a Tap
}

func newReplica(epoch, stream uint64, from GatewayID, since, floor Stamp) *replica {
	return &replica{epoch: epoch, stream: stream, from: from, since: since, floor: floor, channels: make(map[replicaKey]*copied)}
}

// add takes publishes in. Those that are there already stay as they are.
func (r *replica) add(m *CopyPart, of Settings, now time.Duration, unixMs int64) {
	r.taken++
	if m.Old {
		r.parts++
	}
	key := replicaKey{m.App, m.Name}
	c := r.channels[key]
	if c == nil {
		c = &copied{retention: of.Retention, known: of.idRetention()}
		r.channels[key] = c
	}
	c.since = maxStamp(c.since, parseSerial(m.Since))
	for _, d := range m.Deliveries {
		if d.Serial == "" {
			c.present.fold(d.Presence) // the set, of which later ones tell the changes
			continue
		}
		stamp := parseSerial(d.Serial)
		if n := len(c.entries); n > 0 && !c.entries[n-1].stamp.less(stamp) {
			continue
		}
		c.present.fold(d.Presence)
		age := min(max(time.Duration(unixMs-d.TimeMs)*time.Millisecond, 0), of.idRetention())
		c.since = maxStamp(c.since, c.history.add(stamp, now-age, d))
		c.shown = len(c.entries)
		r.floor = maxStamp(r.floor, stamp)
	}
	c.outlive(now)
}

// outlive forgets what is too old.
func (c *copied) outlive(now time.Duration) { c.expire(now-c.retention, now-c.known) }

// letGo forgets all, and that it was whole.
func (r *replica) letGo() {
	r.complete, r.channels, r.order = false, make(map[replicaKey]*copied), nil
}

// sweep forgets what is too old. It reports whether anything is left.
func (r *replica) sweep(now time.Duration) bool {
	for key, c := range r.channels {
		if c.outlive(now); c.history.empty() && c.since == (Stamp{}) && c.present.len() == 0 {
			delete(r.channels, key)
		}
	}
	return len(r.channels) > 0
}

// adopt gives a channel the past that another owner has left.
func (s *State) adopt(c *copied) {
	s.since = maxStamp(s.since, c.since)
	if c.present.len() > 0 {
		s.present = &c.present
		s.present.inherited()
		s.sum[PresenceMembers] = int32(s.present.len())
	}
	if n := len(c.entries); n > 0 {
		s.past = &c.history
		s.past.relink()
		s.guessed, s.shown = false, c.entries[n-1].stamp
		s.last = maxStamp(s.last, s.shown)
		s.expired = parseSerial(c.entries[0].d.Prev) // whoever has seen that one misses none before these
	} else if c.old != nil {
		s.past = &c.history
	}
}
