package channel

// Frames between hosts. The owner of a partition keeps a copy of its history with a follower, and whoever becomes the
// owner next takes it over from whom has one. All of one stream come in order on one link.

// ToHost is what a host says to another: *CopyBegin, *CopyPart, *CopyEnd, *CopyWhole, *CopyBehind, *CopyKnown, *Copied,
// *CopyFetch, *CopyHave, *Left, *TapTold, *PastAsk, *PastHave, *PastTake or *PastPage.
type ToHost interface{ toHost() }

// CopyBegin begins a copy of a partition's history. It replaces what the receiver has of earlier ones.
type CopyBegin struct {
	Stream uint64 // chosen by who sends the copy, or by who fetches it
	Since  string // position: all publishes behind it were kept
	Floor  string // position: above all that was given before
}

// CopyPart is some publishes of one channel, in order.
type CopyPart struct {
	Stream     uint64
	App, Name  string
	Since      string // position behind which the channel's history is whole; "" when nothing is known to be missing
	Old        bool   // was published before the copy began
	Deliveries []*Delivery
}

// CopyEnd says that everything from before CopyBegin was sent; later publishes follow. When Complete is false the copy is
// let go: another one is whole.
type CopyEnd struct {
	Stream   uint64
	Complete bool
	Parts    uint64 // CopyParts of what is old: whoever got fewer has not got all
}

// CopyWhole says that the copy has everything that was acknowledged so far, and that publishes wait for it from now on.
type CopyWhole struct {
	Stream uint64
}

// Copied confirms a CopyPart; without a name first the CopyEnd, then the CopyWhole.
type Copied struct {
	Stream    uint64
	App, Name string
	Serial    string // of the last publish taken
	Old       bool
}

// CopyFetch asks for a copy of what came before the epoch it is sent under: first who has one, then the one that has the
// latest to send it.
type CopyFetch struct {
	Stream uint64
	Take   bool
	Back   uint64 // tenures before the one asked for that never served
}

// CopyHave answers a CopyFetch that does not take.
type CopyHave struct {
	Stream   uint64
	Of       uint64 // number of the copy among those of its owner, the owner's own being the last; 0: none
	Complete bool
	// The owner's own says what it has sent of it to whoever asks: if all of that has arrived, it is there already.
	Sent  uint64 // stream; 0: none, or not all
	Parts uint64 // CopyParts of that stream
	// Hollow is not 0 when whoever answers owned the partition then and has nothing, because it never served: what was
	// before is as many tenures further back.
	Hollow uint64
	Over   bool   // the asker's own tenure is over; it just has not heard
	Behind uint64 // see CopyBehind, of the tenure that is asked for; 0: nothing was said here
}

// Left is what an owner, at the end of its tenure, tells the next one of channels on which something was running out. It
// answers a CopyFetch that does not take, ahead of CopyHave.
type Left struct {
	Stream   uint64
	Channels []*Remains
}

// Remains is what is left of one channel's delays.
type Remains struct {
	App, Name string
	VacateMs  int64 // until vacated is due, of a channel that nobody holds; -1: it is not
	UsedMs    int64 // since the last use of an open channel without attachments; -1: it has some, or is closed
	More      []Section
}

// Section is what some part of a channel's state has left. Kinds are part of the protocol between nodes: they are never
// reused, and a receiver skips those that it does not know.
type Section struct {
	Kind byte
	Data []byte
}

// size is what the frame of r takes, by estimate.
func (r *Remains) size() int {
	n := 16 + len(r.App) + len(r.Name)
	for _, s := range r.More {
		n += 4 + len(s.Data)
	}
	return n
}

func (*CopyBegin) toHost() {}
func (*CopyPart) toHost()  {}
func (*CopyEnd) toHost()   {}
func (*CopyWhole) toHost() {}
func (*Copied) toHost()    {}
func (*CopyFetch) toHost() {}
func (*CopyHave) toHost()  {}
func (*Left) toHost()      {}

// Hosts carries frames between hosts.
type Hosts interface {
	// ToHost sends one frame on a session with a node, or on any when session is 0. It never blocks. False: that
	// session is over. What was sent on one session comes in order, and what is lost ends it.
	ToHost(to GatewayID, session uint64, part uint32, epoch uint64, m ToHost) bool
}
