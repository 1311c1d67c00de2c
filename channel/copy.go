package channel

// Frames between hosts. The owner of a partition keeps a copy of its history with a follower, and whoever becomes the
// owner next takes it over from whom has one. All of one stream come in order on one link.

// ToHost is what a host says to another: *CopyBegin, *CopyPart, *CopyEnd, *Copied, *CopyFetch or
// *CopyHave.
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

// CopyEnd says that everything from before CopyBegin was sent; later publishes follow. Complete is false when there was
// nothing to send, or not all of it.
type CopyEnd struct {
	Stream   uint64
	Complete bool
	Parts    uint64 // CopyParts of what is old: whoever got fewer has not got all
}

// Copied confirms a CopyPart, or the CopyEnd when there is no name.
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
}

// CopyHave answers a CopyFetch that does not take.
type CopyHave struct {
	Stream   uint64
	Of       uint64 // number of the copy among those of its owner, the owner's own being the last; 0: none
	Complete bool
}

func (*CopyBegin) toHost() {}
func (*CopyPart) toHost()  {}
func (*CopyEnd) toHost()   {}
func (*Copied) toHost()    {}
func (*CopyFetch) toHost() {}
func (*CopyHave) toHost()  {}

// Hosts carries frames between hosts.
type Hosts interface {
	// ToHost sends one frame on a session with a node, or on any when session is 0. It never blocks. False: that
	// session is over. What was sent on one session comes in order, and what is lost ends it.
	ToHost(to GatewayID, session uint64, part uint32, epoch uint64, m ToHost) bool
}
