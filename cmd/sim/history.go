package sim

import (
	"slices"
	"sync"
	"time"
)

// The types of an event.
const (
	Occupied = "occupied"
	Vacated  = "vacated"
	Gap      = "gap" // no event of the log: a receiver is told that of some there is not all
)

// Event is one state event as the pull API and the webhooks spell it.
type Event struct {
	ID      string `json:"id"`
	Seq     uint64 `json:"seq"`
	App     string `json:"app"`
	Channel string `json:"channel"`
	Type    string `json:"type"`
	TimeMs  int64  `json:"time_ms"`
	Ends    uint64 `json:"ends,omitempty"`
	From    uint64 `json:"from,omitempty"` // of a Gap in what a webhook tells
	To      uint64 `json:"to,omitempty"`
}

// Attachment is one attachment of one client to one channel, as the client saw it.
type Attachment struct {
	Client, Node int
	Channel      string
	Modes        Mode
	Asked        time.Time // ATTACH went out
	Confirmed    time.Time // ATTACHED came in; zero: never
	Left         time.Time // the client gave it up, or learned that it is over; zero: it still holds it
	Why          string    // how it ended
}

// Message is one publish of one client.
type Message struct {
	Client, Number int    // Number counts the client's own
	Conn           string // the id of the connection that it was first sent on
	Channel        string
	Asked          time.Time // it was first sent
	Acked          time.Time // zero: never
	Serial         string    // as the ACK says
	Refused        string    // why, if it was
}

// Listening is a time in which a client heard a channel without being told that it missed something: an attachment, and
// those that resumed it.
type Listening struct {
	Client  int
	Channel string
	From    time.Time // the ATTACHED that began it
	To      time.Time // when the client gave it up or was told of a gap; zero: it still hears
	Gap     string    // what it was told then, "" when it gave up itself
	Resumes int
	Heard   []Heard
}

// Heard is one message as it came.
type Heard struct {
	Client, Number int
	Serial         string
	At             time.Time
}

// Outage is a time in which a node or a client could not speak or be spoken to.
type Outage struct {
	Node     int // -1: not a node
	Client   int // -1: not a client
	Kind     OutageKind
	From, To time.Time // To is zero while it lasts
}

// OutageKind says what an outage takes away.
type OutageKind uint8

// The kinds of outage.
const (
	Dead   OutageKind = iota // the process is gone
	Silent                   // it lives, and nobody hears it, its clients neither
	CutOff                   // it lives and its clients hear it, the other nodes do not
)

// Receipt is one request that a webhook receiver read.
type Receipt struct {
	At       time.Time
	Rule     string
	Events   []Event
	Accepted bool // it was answered with success
}

// Snapshot is one complete reading of the occupied channels.
type Snapshot struct {
	Asked    time.Time // before its first page
	At       time.Time
	Node     int
	AsOf     uint64
	Channels []Holding
}

// Holding is one occupied channel in a snapshot.
type Holding struct {
	Channel string `json:"channel"`
	SinceMs int64  `json:"since_ms"`
	Seq     uint64 `json:"seq"`
}

// Count is what one node said about one channel.
type Count struct {
	At      time.Time
	Node    int
	Channel string
	Metrics map[string]int
}

// Claim is one node saying that it acts, or no longer acts, as the owner of a partition at an epoch.
type Claim struct {
	At        time.Time
	Node      int
	Boot      string
	Partition uint32
	Epoch     uint64
	Ends      bool
}

// Burial is a node that held a lease in an instant in which another node already knew it as dead.
type Burial struct {
	At       time.Time
	Node, By int
	Boot     string
}

// Note is a line of the timeline that is no observation: a fault, a change of phase.
type Note struct {
	At   time.Time
	Text string
}

// History is everything that one run left behind. Checkers read it and nothing else.
type History struct {
	Attachments []Attachment
	Messages    []Message
	Listenings  []*Listening
	Outages     []Outage
	Receipts    []Receipt
	Snapshots   []Snapshot
	Counts      []Count
	Claims      []Claim
	Burials     []Burial
	Notes       []Note
	Logs        [][]Event       // the event log as each node told it at the end
	Wanted      map[int][]Want  // per client, what it wants attached at the end
	Rules       map[string]Rule // by id
	Delay       func(channel string) time.Duration
	Holds       func(channel string, m Mode) bool // whether an attachment with these modes occupies the channel
	Partitions  int
	Gentle      bool // no node was hurt soon after another one
	Bounded     bool // events may be forgotten before they are delivered
	Began       time.Time
	Quiet       time.Time // after this nothing was done to the cluster, nor by the clients
	End         time.Time
}

// Want is one channel that a client wants to be attached to, and how.
type Want struct {
	Channel string
	Modes   Mode
}

// Rule says which channels a receiver hears of.
type Rule struct {
	ID    string
	Match func(channel string) bool
	Plain bool // its format has no word for a gap
}

// Log returns all events that any node told, in order of seq. What two nodes tell differently is CheckSameLog's matter.
func (h *History) Log() []Event {
	known := make(map[uint64]Event)
	for _, l := range h.Logs {
		for _, e := range l {
			if _, ok := known[e.Seq]; !ok {
				known[e.Seq] = e
			}
		}
	}
	out := make([]Event, 0, len(known))
	for _, seq := range sorted(known) {
		out = append(out, known[seq])
	}
	return out
}

// Recorder collects a History from many goroutines. The zero value is ready.
type Recorder struct {
	mu sync.Mutex
	h  History
}

// record changes the history under the lock.
func (r *Recorder) record(f func(h *History)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.h)
}

// History returns a copy that no longer changes.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.h
	h.Attachments = slices.Clone(h.Attachments)
	h.Messages = slices.Clone(h.Messages)
	h.Listenings = slices.Clone(h.Listenings)
	for i, l := range h.Listenings {
		c := *l
		c.Heard = slices.Clone(l.Heard)
		h.Listenings[i] = &c
	}
	h.Outages = slices.Clone(h.Outages)
	h.Receipts = slices.Clone(h.Receipts)
	h.Snapshots = slices.Clone(h.Snapshots)
	h.Counts = slices.Clone(h.Counts)
	h.Claims = slices.Clone(h.Claims)
	h.Burials = slices.Clone(h.Burials)
	h.Notes = slices.Clone(h.Notes)
	h.Logs = slices.Clone(h.Logs)
	return &h
}

// received says when each event, by id, first reached a receiver.
func (h *History) received() map[string]time.Time {
	first := make(map[string]time.Time)
	for _, r := range h.Receipts {
		for _, e := range r.Events {
			if at, ok := first[e.ID]; e.ID != "" && (!ok || r.At.Before(at)) {
				first[e.ID] = r.At
			}
		}
	}
	return first
}
