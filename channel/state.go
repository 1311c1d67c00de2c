package channel

import "time"

// Settings is what may differ from channel to channel.
type Settings struct {
	VacateDelay           time.Duration // empty for this long before vacated is proposed
	IdleClose             time.Duration // unattached and unused for this long before the channel closes
	OccupancyInterval     time.Duration // occupancy events that cross no zero wait at most this long
	Meta                  bool          // a metachannel: nobody is told that it is open or occupied, and it is not counted
	Taps                  Taps          // what a Tap is told of
	Lifecycle             bool          // the log learns when the channel opens and closes
	ClosedWaits           bool          // it learns of closing only when the last counts have been told
	OccupiedByConnections bool          // any attachment occupies; otherwise only subscribers do
	Retention             time.Duration // publishes are kept and known again for this long; 0 keeps none
	Known                 time.Duration // those of connections are known again for this long, if that is longer
	MembersMax            int           // of the presence set; 0 is no limit
	MessageRate           int           // messages published per second; 0 is no limit
	Mutable               bool          // messages may be changed and annotated
}

// idRetention is for how long a connection's publish is known again.
func (s *Settings) idRetention() time.Duration { return max(s.Retention, s.Known) }

// Moment is what the shell knows when it steps a state.
type Moment struct {
	Since   time.Duration // monotonic clock of the shell, greater than 0; all delays are measured on it
	UnixMs  int64         // wall clock, for what others read: serials and the times of transitions
	Leased  bool          // whether this node may act as an owner now
	Stream  uint64        // the whole copy that is kept with another host: publishes wait for it; 0: none
	Growing uint64        // the copy that is being made beside; 0: none
	Gated   bool          // the channel may not open without leave
	Age     time.Duration // for how long all publishes were taken here, or by owners whose histories were taken over
}

// InputKind says what an Input is.
type InputKind uint8

// The kinds of input.
const (
	InTick      InputKind = iota // time has passed
	InRegister                   // Register of From; Fresh when it is part of a Snapshot
	InDrop                       // From holds nothing any more: its death is committed, or (Fresh) its Snapshot had nothing
	InPublish                    // Publish of From
	InQuery                      // Query of From
	InCommitted                  // the outstanding proposal of kind Done is committed
	InFailed                     // it never will be under this epoch
	InOpened                     // every gateway has been heard after a Restore; Heir: and what the owner before kept is here
	InHistory                    // History of From
	InCopyAll                    // the growing copy Stream has to be sent more of what is old: of what is behind Copied
	InPresence                   // Presence of From
	InMembers                    // Members of From
	InCopied                     // the copy Stream has what was published up to Copied; Stream 0: none is waited for any more
	InLeave                      // the leave to open that was asked for: Refusal says whether it is given
	InSettings                   // Profile is that of the channel from now on
	InLookup                     // Lookup of From
)

// Input is one thing that happened to a channel.
type Input struct {
	Kind     InputKind
	Fresh    bool
	Heir     bool
	Done     Kind
	From     Gateway
	Register *Register
	Publish  *Publish
	Query    *Query
	History  *History
	Presence *PresenceChange
	Members  *PresenceQuery
	Lookup   *Lookup
	Stream   uint64
	Copied   Stamp
	Refusal  Refusal
	Profile  *Profile
}

// request is what a gateway asks and wants an answer to; nil for anything else.
func (in *Input) request() ToOwner {
	switch in.Kind {
	case InPublish:
		return in.Publish
	case InQuery:
		return in.Query
	case InHistory:
		return in.History
	case InLookup:
		return in.Lookup
	case InPresence:
		return in.Presence
	case InMembers:
		return in.Members
	}
	return nil
}

// opens names the channel of a request that makes it if need be; other requests are answered where there is none.
func (in *Input) opens() (app, name string, ok bool) {
	switch in.Kind {
	case InPublish:
		return in.Publish.App, in.Publish.Name, true
	case InPresence:
		return in.Presence.App, in.Presence.Name, true
	}
	return "", "", false
}

// Effect is one thing the shell must now do: propose a transition of the channel, or send a message to a gateway or to
// the follower.
type Effect struct {
	Propose Kind      // 0: send
	Ask     bool      // for leave to open
	Copy    CopyPlace // Message is a Delivery for these copies
	Old     bool      // and was published before its copy began
	To      Gateway
	TimeMs  int64 // of the transition: when it was decided
	Message ToGateway
}

// CopyPlace names copies of a history with other hosts: see Moment.
type CopyPlace uint8

// The copies that there may be.
const (
	ToWhole   CopyPlace = 1 << iota // Moment.Stream
	ToGrowing                       // Moment.Growing
)

type phase uint8

// The life of an occupancy. The log holds an obligation in occupied, delaying and vacating.
const (
	vacant    phase = iota
	occupying       // occupied is proposed
	occupied        // held, and committed
	delaying        // committed, held by nobody, vacateAt is running
	vacating        // vacated is proposed
)

// life is what the log knows of the channel's being open.
type life uint8

const (
	unsaid  life = iota
	opening      // opened is proposed
	said         // and committed: the log holds the obligation
	closing      // closed is proposed
)

// leaseRetry is how soon what stood still for want of a lease is tried again.
const leaseRetry = 500 * time.Millisecond

// Profile is what many channels share: their settings and the host's series of serials.
type Profile struct {
	Settings
	Series string
}

// State is one channel on its owner. It is pure: Step does no I/O, reads no clock and starts nothing. It is kept small,
// since there is one for every open channel.
type State struct {
	profile   *Profile
	app, name string

	sum  Counts // over all vectors
	held vectors

	vacateAt time.Duration // since the channel is held by nobody; 0 while held
	usedAt   time.Duration // last publish, or when the last attachment went
	rollAt   time.Duration // when changed counts are told at the latest; 0: none to tell
	retryAt  time.Duration // when to look for a lease again; 0: not needed

	last       Stamp     // greatest serial given or seen
	shown      Stamp     // greatest serial that anybody may know
	since      Stamp     // all that was published behind it was kept here
	expired    Stamp     // up to here publishes may be gone because of their age
	past       *history  // nil when there is nothing to keep
	present    *presence // nil when there is nobody
	asking     *asking   // nil unless it waits for leave to open
	parked     []Input   // what publishers asked for while there was no lease
	rate       *bucket   // nil unless publishes are limited
	toldCounts *Counts   // what everybody has accepted who is told of its counts; nil where nobody is. The shell writes it between steps
	copies     [2]uint64 // streams that have all of past
	owed       int32     // vectors with confirm
	watched    int32     // vectors with watch
	phase      phase
	life       life
	open       bool
	waiting    bool // gateways are still to be heard (Restore): take inputs in, say nothing
	guessed    bool // shown is only a bound: nobody was told of it yet
}

// NewState makes a channel that is closed and vacant. Its serials go on above floor.
func NewState(app, name string, profile *Profile, floor Stamp) State {
	return State{profile: profile, app: app, name: name, last: floor, shown: floor, guessed: true}
}

// Remember says what is known of the channel's past although nothing of it is kept here: all publishes behind since
// were kept by this owner or those before it, and those that were are gone when they are older than the retention.
func (s *State) Remember(since Stamp, unixMs int64) {
	s.since, s.expired = since, Stamp{ms: max(unixMs-s.profile.Retention.Milliseconds(), 0)}
}

// Restore is for the first moments of an owner: nothing is said before InOpened, since a sum over some of the gateways
// is nobody's business. obliged channels are occupied in the log; when nobody turns out to hold it the channel is
// vacated after its delay, or the grace if that is longer.
func (s *State) Restore(now Moment, obliged bool, grace time.Duration) {
	s.waiting = true
	if obliged {
		s.phase, s.open, s.usedAt = delaying, true, now.Since
		s.vacateAt = now.Since + max(s.profile.VacateDelay, grace)
	}
}

// RestoreOpen says, beside Restore, that the channel is open in the log: it is used until now, and closed when its time
// is over.
func (s *State) RestoreOpen(now Moment) {
	s.life, s.open, s.usedAt = said, true, now.Since
}

// Open reports whether the channel is open: attached, or used within the last IdleClose. A metachannel is not counted
// among those that are.
func (s *State) Open() bool { return s.open && !s.profile.Meta }

// Occupied reports whether the log holds the channel as occupied, as far as this owner knows.
func (s *State) Occupied() bool { return s.phase >= occupied }

// Counts is the channel's occupancy.
func (s *State) Counts() Counts { return s.sum }

// Done reports that nothing would be lost if the state were forgotten.
func (s *State) Done() bool {
	return !s.open && s.phase == vacant && s.life == unsaid && s.held.len() == 0 && !s.waiting && s.past == nil && s.present.idle() && s.asking == nil && len(s.parked) == 0
}

// Wake is when a tick is needed at the latest; 0 is never.
func (s *State) Wake() time.Duration {
	var at time.Duration
	sooner := func(t time.Duration) {
		if at == 0 || t < at {
			at = t
		}
	}
	if s.waiting {
		return 0
	}
	if s.retryAt > 0 {
		sooner(s.retryAt)
	} else {
		if s.phase == delaying {
			sooner(s.vacateAt)
		}
		if s.rollAt > 0 {
			sooner(s.rollAt)
		}
		if s.present != nil && s.present.soonest > 0 {
			sooner(s.present.soonest)
		}
	}
	if s.open && !s.attached() {
		sooner(s.usedAt + s.profile.IdleClose)
	}
	if s.life == said && !s.open && s.closedWaits() {
		sooner(s.usedAt + s.profile.IdleClose + countsOwed)
	}
	if h := s.past; h != nil {
		slack := s.profile.Retention / expirySlack
		if h.shown > 0 {
			sooner(h.entries[0].at + s.profile.Retention + slack)
		}
		if h.old != nil {
			sooner(h.old.list[0].at + s.profile.idRetention() + slack)
		}
	}
	return at
}

// Step applies one input and appends what must now happen to effects, in order. Messages in effects are shared between
// gateways and must not be written to.
func (s *State) Step(now Moment, in Input, effects []Effect) []Effect {
	if now.Leased && len(s.parked) > 0 {
		effects = s.unpark(now, effects)
	}
	switch in.Kind {
	case InPublish, InPresence:
		if !now.Leased && !s.waiting {
			return s.park(now, in, effects)
		}
		if s.mustAsk(now) {
			return s.hold(now, in, effects)
		}
	}
	switch in.Kind {
	case InRegister:
		s.register(now, in)
		s.registerPresence(now, in)
	case InDrop:
		s.drop(now, in.From)
		s.overtaken(in.From, true, nil)
		if in.Fresh {
			s.present.only(now, in.From, nil)
		} else {
			s.present.dead(now, in.From)
		}
	case InPublish:
		return s.announce(now, s.publish(now, in.From, in.Publish, effects))
	case InQuery:
		return append(effects, Effect{To: in.From, Message: s.query(now, in.Query)})
	case InHistory:
		return append(effects, Effect{To: in.From, Message: s.recall(now, in.History)})
	case InPresence:
		return s.changePresence(now, in.From, in.Presence, effects)
	case InMembers:
		return append(effects, Effect{To: in.From, Message: s.presencePage(now, in.Members)})
	case InLookup:
		return append(effects, Effect{To: in.From, Message: s.lookup(now, in.Lookup)})
	case InCopyAll:
		return s.copyAll(now, in, effects)
	case InCopied:
		s.copied(now, in)
	case InCommitted:
		s.committed(in.Done)
	case InLeave:
		effects = s.answerLeave(now, in.Refusal, effects)
	case InSettings:
		s.profile = in.Profile
	case InFailed:
		return effects // another owner follows and finds the obligation, or its absence, in the log
	case InOpened:
		s.waiting = false
		s.present.opened(now, in.Heir && s.profile.Retention > 0)
	}
	return s.settle(now, effects)
}

// settle brings out what the state and the time ask for.
func (s *State) settle(now Moment, effects []Effect) []Effect {
	if s.waiting {
		return effects
	}
	if !s.open && (s.asking != nil || s.attached()) {
		if !now.Leased {
			s.retryAt = now.Since + leaseRetry
			return effects
		}
		s.retryAt = 0
		if effects = s.ask(now, effects); s.asking != nil {
			return effects
		}
	}
	s.close(now)
	s.expireHistory(now)
	s.follow()
	if s.watched == 0 {
		s.rollAt = 0
	}
	if !now.Leased {
		s.retryAt = 0
		if s.due(now) || len(s.parked) > 0 {
			s.retryAt = now.Since + leaseRetry
		}
		return effects
	}
	s.retryAt = 0
	if s.past.ripe() {
		effects = s.release(effects)
	}
	effects = s.announce(now, effects)
	effects = s.tellPresence(now, effects)
	effects = s.propose(now, effects)
	effects = s.confirm(now, effects)
	return s.tell(now, effects)
}

// due reports that something would be said or proposed now if there were a lease.
func (s *State) due(now Moment) bool {
	return s.owed > 0 || s.watched > 0 || s.past.ripe() || s.present.due(now) ||
		s.life == unsaid && s.open && s.profile.Lifecycle || s.life == said && !s.open ||
		s.phase == vacant && s.isHeld() || s.phase == delaying && now.Since >= s.vacateAt
}

// close ends the channel's time of being open.
func (s *State) close(now Moment) {
	if s.open && !s.attached() && now.Since >= s.usedAt+s.profile.IdleClose {
		s.open = false
	}
}

// follow keeps up with the holders where the log need not know: leaving starts the delay, and a return within it
// leaves no trace.
func (s *State) follow() {
	switch isHeld := s.isHeld(); {
	case s.phase == occupied && !isHeld:
		s.phase = delaying
	case s.phase == delaying && isHeld:
		s.phase = occupied
	}
}

// propose asks for what the log must learn.
func (s *State) propose(now Moment, effects []Effect) []Effect {
	switch {
	case s.phase == vacant && s.isHeld():
		s.phase = occupying
		return append(effects, Effect{Propose: Occupy, TimeMs: now.UnixMs})
	case s.phase == delaying && now.Since >= s.vacateAt:
		s.phase = vacating
		return append(effects, Effect{Propose: Vacate, TimeMs: now.UnixMs})
	}
	return effects
}

// countsOwed is how long the log goes on knowing a channel that is closed because somebody does not accept its last counts.
const countsOwed = time.Hour

// closedWaits says that somebody is still to be told of the counts of a channel that is closed. While the log knows the channel,
// the next owner tells them. Where somebody wants to know of closing as well, that does not wait for the target of another.
func (s *State) closedWaits() bool {
	return s.profile.ClosedWaits && s.toldCounts != nil && *s.toldCounts != s.sum
}

// announce asks for what the log must learn of the channel's being open. Closed comes behind vacated, and where it
// has to wait for that, when the last counts have been told.
func (s *State) announce(now Moment, effects []Effect) []Effect {
	switch {
	case s.life == unsaid && (!s.open || !s.profile.Lifecycle), !now.Leased, s.waiting:
	case s.life == unsaid:
		s.life = opening
		return append(effects, Effect{Propose: Open, TimeMs: now.UnixMs})
	case s.life == said && !s.open && s.phase == vacant && (!s.closedWaits() || now.Since >= s.usedAt+s.profile.IdleClose+countsOwed):
		s.life = closing
		return append(effects, Effect{Propose: Close, TimeMs: now.UnixMs})
	}
	return effects
}

func (s *State) committed(done Kind) {
	switch done {
	case Open:
		s.life = said
		return
	case Close:
		s.life = unsaid
		return
	}
	switch s.phase {
	case occupying:
		s.phase = occupied
	case vacating:
		s.phase = vacant
	}
}

// confirm answers the registers that the log covers now.
func (s *State) confirm(now Moment, effects []Effect) []Effect {
	if s.owed == 0 || s.isHeld() && s.phase != occupied {
		return effects
	}
	serial := s.point(now).serial(s.profile.Series)
	for i := s.held.len() - 1; i >= 0; i-- {
		v := s.held.at(i)
		if !v.confirm {
			continue
		}
		effects = append(effects, Effect{To: v.gateway, Message: &Registered{
			App: s.app, Name: s.name, Version: v.version, Serial: serial, Counts: s.sum, Lost: v.lost,
		}})
		v.confirm, v.lost = false, false
		s.owed--
		if w := v.watch; w != nil {
			if w.seeded {
				w.seeded, w.known, w.told = false, true, s.sum
			}
			w.split = w.split || w.known && w.told != s.sum
		}
		if v.holdsNothing() {
			s.held.remove(i)
		}
	}
	return effects
}

// point is where a new attachment begins: below all messages to come.
func (s *State) point(now Moment) Stamp {
	if s.guessed {
		// Above the points that owners before gave, which are in no copy.
		s.shown = pointAt(max(s.last.ms, now.UnixMs))
		s.last = s.shown
	}
	if s.last == (Stamp{}) {
		s.last.ms = now.UnixMs
	}
	if s.shown == (Stamp{}) {
		s.shown = s.last
	}
	s.guessed = false
	return s.shown
}

// tell brings occupancy events to the gateways that watch.
func (s *State) tell(now Moment, effects []Effect) []Effect {
	if s.watched == 0 {
		return effects
	}
	roll := s.profile.OccupancyInterval <= 0 || s.rollAt > 0 && now.Since >= s.rollAt
	var event *Occupancy
	late := false
	for i := range s.held.len() {
		v := s.held.at(i)
		w := v.watch
		if w == nil || w.seeded || w.known && w.told == s.sum && !w.split {
			continue
		}
		if w.known && !roll && !crosses(w.told, s.sum) {
			late = true
			continue
		}
		if event == nil {
			event = &Occupancy{App: s.app, Name: s.name, Counts: s.sum}
		}
		effects = append(effects, Effect{To: v.gateway, Message: event})
		w.known, w.told, w.split = true, s.sum, false
	}
	switch {
	case !late:
		s.rollAt = 0
	case s.rollAt == 0:
		s.rollAt = now.Since + s.profile.OccupancyInterval
	}
	return effects
}

// publish gives the messages their serial and sends them to every gateway with subscribers, the publisher's included. A
// publish that is known is answered as it was the first time.
func (s *State) publish(now Moment, from Gateway, p *Publish, effects []Effect) []Effect {
	if !now.Leased || s.waiting {
		return append(effects, Effect{To: from, Message: &Published{Req: p.Req, Refusal: NotOwner}})
	}
	s.expireHistory(now)
	if s.past != nil {
		if e, number := s.past.find(p.ID); e != nil && e.same(p) {
			if number >= s.past.first+uint64(s.past.shown) {
				s.past.waits = append(s.past.waits, wait{number, from, p.Req})
				return effects
			}
			return append(effects, Effect{To: from, Message: &Published{Req: p.Req, Serial: e.d.Serial}})
		}
		if serial, known := s.past.old.find(p); known {
			return append(effects, Effect{To: from, Message: &Published{Req: p.Req, Serial: serial}})
		}
	}
	if s.turnPassed(now, p) {
		return append(effects, Effect{To: from, Message: &Published{Req: p.Req, Refusal: OutOfTurn}})
	}
	if !s.mayPublish(now, len(p.Messages)) {
		return append(effects, Effect{To: from, Message: &Published{Req: p.Req, Refusal: TooFast}})
	}
	if edits(p.Messages) {
		if refusal := s.checkEdits(p); refusal != Accepted {
			return append(effects, Effect{To: from, Message: &Published{Req: p.Req, Refusal: refusal}})
		}
	}
	s.open, s.usedAt = true, now.Since
	effects = s.emit(now, &Delivery{ID: p.ID, ConnID: p.ConnID, Messages: p.Messages}, p.Ephemeral, from, p.Req, effects)
	s.takeTurn(now, p)
	return effects
}

// emit gives a Delivery its place in the channel: it is kept unless it is ephemeral, copied, sent to every gateway that
// listens, and who asked for it is answered. from is 0 when nobody did.
func (s *State) emit(now Moment, d *Delivery, ephemeral bool, from Gateway, req uint64, effects []Effect) []Effect {
	prev := s.prev(now)
	s.last = s.last.after(now.UnixMs)
	d.App, d.Name, d.Serial, d.Prev, d.TimeMs = s.app, s.name, s.last.serial(s.profile.Series), prev, now.UnixMs
	if d.Presence != nil {
		nameEvents(d, s.last.ms)
	}
	live := d
	switch {
	case edits(d.Messages):
		s.complete(d)
	case ephemeral:
		d = d.light()
	}
	if s.keep(now, d) {
		w := wait{s.past.first + uint64(len(s.past.entries)-1), from, req}
		switch {
		case edits(d.Messages):
			s.past.keepEdit()
		case ephemeral:
			s.past.entries[len(s.past.entries)-1].extra = &extra{live: live}
		}
		if to := s.places(now); to != 0 {
			effects = append(effects, Effect{Copy: to, Message: d})
			if to&ToWhole != 0 {
				// Nobody is told before another node has it too, so that nobody saw what a new owner would not know.
				s.past.await(w)
				return effects
			}
		}
		s.past.safe = s.last
		if len(s.past.entries)-s.past.shown > 1 {
			s.past.await(w)
			return s.release(effects)
		}
		s.past.shown++
		live = s.past.reveal(s.past.shown - 1)
	}
	s.shown = s.last
	effects = s.deliver(live, effects)
	if from == 0 {
		return effects
	}
	// The answer comes last: a publisher that reads it knows the message to be on its way everywhere.
	return append(effects, Effect{To: from, Message: &Published{Req: req, Serial: d.Serial}})
}

// prev is the position of the publish before the one to come, or where the channel stands when there was none.
func (s *State) prev(now Moment) string {
	if s.past != nil && len(s.past.entries) > 0 {
		if e := &s.past.entries[len(s.past.entries)-1]; e.stamp == s.last {
			return SerialPosition(e.d.Serial)
		}
	}
	return s.point(now).position()
}

// keep adds a publish to the history, unless none is kept.
func (s *State) keep(now Moment, d *Delivery) bool {
	if s.profile.Retention <= 0 {
		s.since = s.last
		return false
	}
	if s.past == nil {
		s.past = &history{}
	}
	s.since = maxStamp(s.since, s.past.add(s.last, now.Since, d))
	return true
}

// deliver sends a publish to every gateway that listens. Watchers where nobody else does are there for annotations.
func (s *State) deliver(d *Delivery, effects []Effect) []Effect {
	if !s.sum.listens() && s.watched == 0 {
		return effects
	}
	for i := range s.held.len() {
		if v := s.held.at(i); v.counts.listens() || v.watch != nil {
			effects = append(effects, Effect{To: v.gateway, Message: d})
		}
	}
	return effects
}

func (s *State) query(now Moment, q *Query) *QueryResult {
	if !now.Leased || s.waiting {
		return &QueryResult{Req: q.Req, Refusal: NotOwner}
	}
	return &QueryResult{Req: q.Req, Active: s.open, Counts: s.sum}
}
