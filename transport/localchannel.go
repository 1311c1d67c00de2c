package transport

import (
	"slices"
	"sync/atomic"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

type channelKey struct{ app, name string }

// localChannel is what this gateway holds on one channel. Owned by its shard.
type localChannel struct {
	part        *partition
	key         channelKey
	attachments []*attachment
	counts      channel.Counts
	watchers    int32
	serial      string                                    // everything up to here has reached the listeners
	listeners   int                                       // attachments that messages flow to
	mending     bool                                      // the owner was asked for what the listeners missed
	holds       map[string]*hold                          // by connection: those with members
	overs       []channel.Hold                            // connections that have left, to be told
	peopled     bool                                      // there may be members
	joins       *roll                                     // a SYNC that is about to begin
	playing     map[string][]func(*channel.HistoryResult) // by serial: attachments that wait for what is behind it

	touched bool          // has to be registered at the end of the batch
	known   bool          // the owner of this session has heard of it
	waiting []*attachment // not confirmed yet, by version; the last `fresh` ones are not registered yet
	fresh   int

	suspect bool   // the session is new: its owner may not know what the listeners missed
	version uint64 // of this channel in the session's snapshot; older confirmations are another session's
}

// doubt notes that the session ended.
func (ch *localChannel) doubt() {
	ch.known = false
	ch.suspect = ch.suspect || ch.listeners > 0
}

// attachment is one connection's hold on one channel under one name. The connection makes it, the channel's shard owns
// it from then on.
type attachment struct {
	// Static after construction.
	conn  *conn
	key   channelKey
	name  string // as the client wrote it
	hash  uint64 // the channel's place on the ring
	names *names

	// Owned by the connection's read loop.
	asked  protocol.Flags // modes granted at the last ATTACH or AUTH
	demand demand         // of the last ATTACH
	orders uint32         // ATTACHes handed to the shard

	failed atomic.Uint32 // number of the ATTACH at which the client was told that the channel failed; written by the shard

	// Owned by the shard.
	taken    uint32        // number of the last ATTACH
	turn     uint32        // counts ATTACHes, so that an old deadline does not hit a new one
	ch       *localChannel // nil while there is none
	index    int           // in ch.attachments
	granted  protocol.Flags
	attached bool // ATTACHED was sent
	noEcho   bool
	inWait   bool // ATTACHED is owed
	promised bool // ATTACHED said that a SYNC follows

	listening bool   // messages flow, those behind from
	version   uint64 // of the Register that has to be confirmed while inWait; 0 before it is sent
	serial    string // the client's channelSerial, while inWait
	rewind    *rewind
	playback  *playback // confirmed and inWait: what was published before is being asked for; else nil

	from string // where messages began to flow, or it was told that they go on
	rest *rest  // left out for a moment: its connection gets more than it may

	params map[string]string
	watch  *watch
	wants  *wishes // nil for most
	roll   *roll   // a SYNC under way
}

// names counts a connection's attachments to one channel, which share it: there may be several, each under a name of its
// own. Owned by the shard.
type names struct {
	all     int32
	present int32 // those that were granted presence
}

// hasFailed says that the last that the client was told is that the channel failed.
func (a *attachment) hasFailed() bool { return a.failed.Load() == a.orders }

// attachOrder is an ATTACH that passed all checks of the connection.
type attachOrder struct {
	a       *attachment
	number  uint32 // among those of a, from 1
	demand  demand // whence the rest follows
	granted protocol.Flags
	noEcho  bool
	serial  string
	params  map[string]string // what is recognised, as applied; nil when nothing is
	watch   *watch            // nil unless occupancy events were asked for
	rewind  *rewind           // nil unless asked for
	wants   *wishes           // nil unless messages are wanted in other forms
}

// attachWait is an entry of a shard's list of unconfirmed attaches.
type attachWait struct {
	a        *attachment
	turn     uint32
	deadline time.Time
}

// settled says that nothing is to be confirmed any more. Who was told to have resumed may take its time for what it missed.
func (w *attachWait) settled() bool {
	return !w.a.inWait || w.a.turn != w.turn || w.a.playback != nil && w.a.playback.greeted
}

// watch is an attachment's wish for occupancy events.
type watch struct {
	which channel.Category
	told  bool
	owed  bool           // the counts to start from, which are last, follow when the members were told
	last  channel.Counts // told last; the latest, to be told, while they are owed or the attachment is played the past
}

// news says whether the counts differ from those told last, as far as the watcher sees them, and takes them as told.
func (w *watch) news(c *channel.Counts) bool {
	if w.owed {
		w.last = *c
		return false
	}
	if w.told {
		if w.which == protocol.AllCategories && w.last == *c {
			return false
		}
		if w.which != protocol.AllCategories && w.last[w.which] == c[w.which] {
			return false
		}
	}
	w.told, w.last = true, *c
	return true
}

// attach takes an attachment in, or changes it in place, and asks the owner to confirm what that adds. An ATTACH that
// changes nothing the owner has to know is answered at once.
func (s *shard) attach(p *partition, o *attachOrder) {
	a := o.a
	if a.conn.ended.Load() != 0 && a.ch == nil {
		return // its doGone has passed or will find nothing
	}
	before, watched := channel.Counts{}, a.watches()
	if a.ch == nil {
		s.admit(p, a)
	} else {
		before = protocol.ModeCounts(a.granted)
	}
	ch := a.ch
	waited := a.inWait // for what this one asks for as well: it is not confirmed yet, and does not flow
	if waited {
		ch.unwait(a)
	}
	if a.lostTrack(o) {
		a.attached = false
		a.unlisten()
		a.wake() // what it was left out of is behind its serial
	}
	a.wants, a.taken = o.wants, o.number
	a.granted, a.noEcho, a.serial, a.params, a.watch, a.rewind = o.granted, o.noEcho, o.serial, o.params, o.watch, o.rewind
	if !a.hears() {
		a.unlisten()
	}
	s.claim(a)
	after := protocol.ModeCounts(a.granted)
	for i := range after {
		ch.counts[i] += after[i] - before[i]
	}
	a.names.present += after[channel.PresenceConnections] - before[channel.PresenceConnections]
	ch.watchers += int32(btoi(a.watches()) - btoi(watched))
	if a.attached && !waited && before == after && !watched && !a.watches() {
		s.sendAttachedAgain(a, a.stands())
		s.sync(a)
		return
	}
	s.touch(ch)
	a.inWait, a.version = true, 0
	a.turn++
	ch.waiting = append(ch.waiting, a)
	ch.fresh++
	s.waits = append(s.waits, attachWait{a: a, turn: a.turn, deadline: time.Now().Add(s.g.cfg.AttachTimeout)})
}

// open is what is held on a channel, made where nothing is yet.
func (s *shard) open(p *partition, key channelKey) *localChannel {
	ch := p.channels[key]
	if ch == nil {
		ch = &localChannel{part: p, key: key}
		p.channels[key] = ch
		s.channels.Add(1)
	}
	return ch
}

func (s *shard) admit(p *partition, a *attachment) {
	ch := s.open(p, a.key)
	a.ch, a.index = ch, len(ch.attachments)
	ch.attachments = append(ch.attachments, a)
	a.names.all++
	s.attachments.Add(1)
}

// detach answers a DETACH. It needs no word of the owner.
func (s *shard) detach(a *attachment) {
	s.leave(a, true)
	s.sendNew(a.conn, func(dst []byte) []byte {
		return protocol.AppendDetached(dst, a.conn.format, a.name, nil)
	})
}

// leave takes an attachment out, and its connection's members with it, or after a while.
func (s *shard) leave(a *attachment, over bool) {
	if ch := a.ch; ch != nil {
		s.remove(a)
		s.letGo(ch, a, over)
	}
}

// remove takes an attachment out.
func (s *shard) remove(a *attachment) {
	ch := a.ch
	if ch == nil {
		return
	}
	if a.inWait {
		ch.unwait(a)
	}
	last := len(ch.attachments) - 1
	ch.attachments[a.index] = ch.attachments[last]
	ch.attachments[a.index].index = a.index
	ch.attachments[last] = nil
	ch.attachments = ch.attachments[:last]
	counts := protocol.ModeCounts(a.granted)
	for i, n := range counts {
		ch.counts[i] -= n
	}
	a.names.all--
	a.names.present -= counts[channel.PresenceConnections]
	if a.watches() {
		ch.watchers--
	}
	a.unlisten()
	a.wake()
	a.ch, a.attached, a.watch, a.params, a.wants, a.roll, a.from = nil, false, nil, nil, nil, nil, ""
	s.attachments.Add(-1)
	s.touch(ch)
}

// unwait takes an attachment off the waiting list.
func (ch *localChannel) unwait(a *attachment) {
	a.inWait, a.serial = false, ""
	if a.playback != nil {
		a.playback = nil
		return
	}
	i := slices.Index(ch.waiting, a)
	if i >= len(ch.waiting)-ch.fresh {
		ch.fresh--
	}
	ch.waiting = slices.Delete(ch.waiting, i, i+1)
}

// touch has the channel registered at the end of the batch.
func (s *shard) touch(ch *localChannel) {
	if !ch.touched {
		ch.touched = true
		s.touched = append(s.touched, ch)
	}
}

// registerTouched tells the owners what changed in this batch: one Register per channel, however many attachments came
// and went. Without a session nothing is said; the snapshot that opens the next one says it all.
func (s *shard) registerTouched() {
	for i, ch := range s.touched {
		s.touched[i] = nil
		if !ch.touched {
			continue
		}
		ch.touched = false
		empty := ch.empty()
		if p := ch.part; p.up() && (ch.known || !empty) {
			r := ch.register(s.g.version.Add(1), ch.fresh > 0)
			r.Holds = ch.tellHolds(false)
			ch.known = true
			s.tell(p, &r)
		}
		if empty {
			delete(ch.part.channels, ch.key)
			s.channels.Add(-1)
		}
	}
	s.touched = s.touched[:0]
}

// register is what this gateway holds, under a new version, which the fresh waiters then wait for.
func (ch *localChannel) register(version uint64, confirm bool) channel.Register {
	for _, a := range ch.waiting[len(ch.waiting)-ch.fresh:] {
		a.version = version
	}
	ch.fresh = 0
	return channel.Register{
		App: ch.key.app, Name: ch.key.name, Version: version,
		Counts: ch.counts, Watchers: ch.watchers, Confirm: confirm, Serial: ch.serial,
	}
}

// registered takes an owner's word that all it was told up to a version is accounted for.
func (s *shard) registered(p *partition, m *channel.Registered) {
	ch := p.channels[channelKey{m.App, m.Name}]
	if ch == nil || m.Version < ch.version {
		return
	}
	ch.peopled = m.Counts[channel.PresenceMembers] > 0
	if m.Lost && (ch.suspect || ch.listeners == 0) {
		ch.goOnFrom(m.Serial) // which may be before what was heard
		s.tellLost(ch)
		if ch.mending {
			ch.serial = "" // its answer is another owner's business
		}
	}
	ch.suspect = false
	s.stand(ch, m.Serial)
	n := 0
	for n < len(ch.waiting)-ch.fresh && ch.waiting[n].version <= m.Version {
		s.confirm(ch.waiting[n], m)
		n++
	}
	left := copy(ch.waiting, ch.waiting[n:])
	clear(ch.waiting[left:])
	if ch.waiting = ch.waiting[:left]; left == 0 {
		ch.waiting = nil
	}
}

// confirm answers an ATTACH, at once if it has no past to hear of first.
func (s *shard) confirm(a *attachment, m *channel.Registered) {
	if !a.attached && (a.serial != "" || a.rewinds()) {
		s.replay(a, m)
		return
	}
	a.inWait, a.serial = false, ""
	switch {
	case !a.attached:
		a.attached = true
		s.sendAttached(a, m.Serial, 0, nil)
	case a.listening:
		s.sendAttachedAgain(a, a.stands())
	default:
		s.sendAttachedAgain(a, m.Serial)
	}
	s.listen(a, m.Serial)
	s.sync(a)
	s.seed(a, &m.Counts)
}

// seed tells a new watcher the counts it starts from. They come behind the members, if those are about to be told.
func (s *shard) seed(a *attachment, c *channel.Counts) {
	if w := a.watch; w != nil {
		if w.told, w.owed, w.last = true, a.roll != nil, *c; !w.owed { // the seed is always sent
			s.sendCounts(a, c)
		}
	}
}

// seedAll tells those attachments the counts that are owed to them. The members were told.
func (s *shard) seedAll(list []*attachment) {
	var c *channel.Counts // one for all of them, so that they share frames
	for _, a := range list {
		w := a.watch
		if !a.attached || w == nil || !w.owed {
			continue
		}
		if w.owed = false; c == nil || *c != w.last {
			last := w.last
			c = &last
		}
		s.sendCounts(a, c)
	}
}

// tellCounts sends a watcher the counts if they are news to it.
func (s *shard) tellCounts(a *attachment, c *channel.Counts) {
	if a.watch.news(c) {
		s.sendCounts(a, c)
	}
}

// sendCounts sends a watcher the counts. What clients apply deltas to is the last MESSAGE they were sent, and this is one.
func (s *shard) sendCounts(a *attachment, c *channel.Counts) {
	s.send(a.conn, s.frames.occupancy(&s.out, s.g, a.conn.format, a.name, c, a.watch.which))
	a.wants.anew()
}

// sendAttachedAgain answers an ATTACH in place: nothing was missed, unless the attachment was left out of something.
func (s *shard) sendAttachedAgain(a *attachment, serial string) {
	if a.rest != nil {
		s.tellLeftOut(a, serial)
		return
	}
	s.sendAttached(a, serial, protocol.FlagResumed, nil)
}

// sendAttached tells a client that it is attached. Where it says that there are members, a sync has to follow.
func (s *shard) sendAttached(a *attachment, serial string, flags protocol.Flags, err *protocol.ErrorInfo) {
	if a.seesMembers() {
		flags |= protocol.FlagHasPresence
		a.promised = true
	}
	a.wants.anew()
	s.sendNew(a.conn, func(dst []byte) []byte {
		return protocol.AppendAttached(dst, a.conn.format, &protocol.Attached{
			Channel: a.name, ChannelSerial: serial, Flags: a.granted | flags, Params: a.params, Error: err,
		})
	})
}

// expireAttaches gives up attaches that no owner confirmed in time. The client is told before its own timeout and tries
// again by itself.
func (s *shard) expireAttaches(now time.Time) {
	n := 0
	for n < len(s.waits) {
		w := &s.waits[n]
		if !w.settled() {
			if now.Before(w.deadline) {
				break
			}
			s.giveUp(w.a)
		}
		n++
	}
	if n > 0 {
		left := copy(s.waits, s.waits[n:])
		clear(s.waits[left:])
		if s.waits = s.waits[:left]; left == 0 && cap(s.waits) > keepFrames {
			s.waits = nil
		}
	}
}

func (s *shard) giveUp(a *attachment) {
	s.leave(a, false)
	s.refused.Add(1)
	s.sendNew(a.conn, func(dst []byte) []byte {
		return protocol.AppendDetached(dst, a.conn.format, a.name, protocol.Errorf(protocol.CodeTimeout,
			"the channel's owner did not confirm the attach in time; try again"))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
