package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/standing"
)

// What the live API allows itself.
const (
	liveEvery    = time.Second      // between two summaries
	liveTimeout  = 10 * time.Second // a reader that takes nothing for so long is gone
	liveReaders  = 32               // at the same time: each has every node asked once a second
	liveBacklog  = 100              // events that a new reader is told
	liveEvents   = 200              // events told per summary, at most: a person reads them
	channelDepth = 10_000           // events looked through for those of one channel
	channelTold  = 50               // of which so many are told
)

// LiveEndpoints are what NewLive serves, for Config.Beside.
var LiveEndpoints = []Endpoint{
	{Path: "/live", Is: "a summary of the cluster each second, and events as they happen, as server-sent events"},
	{Path: "/channel", Is: "one channel: who is attached and present, and its last events; parameters app and channel"},
	{Path: "/meter", Is: "what was open in the newest intervals; parameters unit (minute, hour, day or month), app, and consistency: stale for what a node that is cut off has"},
}

// LiveConfig is what the live API shows. All functions may be called from many goroutines at once.
type LiveConfig struct {
	// Summary gathers what all nodes say, within a second.
	Summary func(ctx context.Context) Summary
	// Events returns the retained events behind a seq, oldest first, up to limit of them, and the first and last seq
	// retained (first > last: none). Where some of them are gone it begins with the first.
	Events func(after uint64, limit int) (first, last uint64, events []LiveEvent)
	// Query asks the owner of a channel. open is false for a channel that is not open; asking does not open it.
	Query func(ctx context.Context, app, name string) (open bool, counts channel.Counts, err error)
	// Holders says who is attached to a channel, on all nodes, and who is present, up to limit of each. Nil: nobody can tell.
	Holders func(ctx context.Context, app, name string, limit int) Holders
	// Meter returns the newest intervals of a unit (minute, hour, day, month), oldest first, up to limit of them, of one app
	// or of all together ("").
	Meter func(app, unit string, limit int) ([]MeterRow, error)
	// Standing says how far the node may speak for its cluster; nil: it always may.
	Standing func() standing.Standing
	// Ended says that the node is on its way out: streams end.
	Ended  func() bool
	Logger *slog.Logger // nil discards
}

// Summary is the cluster at one moment, as one node could find out.
type Summary struct {
	TimeMs     int64           `json:"time_ms"` // Unix milliseconds, of the node that tells
	Node       string          `json:"node"`    // that tells
	Version    string          `json:"version"`
	ClusterID  string          `json:"cluster_id"`
	Leader     string          `json:"leader"` // "" when unknown
	Term       uint64          `json:"term"`
	LeaseMs    int64           `json:"lease_ms"` // left of the telling node's lease
	Reasons    []string        `json:"not_ready"`
	Stale      string          `json:"stale"` // why what is of the log (members, partitions, rules, limits, seqs, occupied, events) may be old; "": it is not
	Members    []Member        `json:"members"`
	Partitions Placement       `json:"partitions"`
	Rules      json.RawMessage `json:"rules"`      // as GET /rules, of the node that sends when it answers
	RulesFrom  string          `json:"rules_from"` // that node
	Limits     []LimitState    `json:"limits"`     // those that are set, the ones that are met first
	FirstSeq   uint64          `json:"first_seq"`  // oldest event retained
	LastSeq    uint64          `json:"last_seq"`   // newest event
	Occupied   int             `json:"occupied"`   // channels of the whole cluster, by this node's copy of the log
}

// LimitState is how one limit of an app or an account stands.
type LimitState struct {
	Scope   string `json:"scope"` // app or account
	ID      string `json:"id"`    // of it
	Limit   string `json:"limit"`
	Unit    string `json:"unit"`  // what is counted
	Value   int64  `json:"value"` // of the whole cluster, a second ago
	Soft    int64  `json:"soft"`  // 0: none
	Hard    int64  `json:"hard"`  // 0: none
	Level   string `json:"level"` // calm, approaching or exceeded
	SinceMs int64  `json:"since_ms,omitempty"`
}

// LimitsShown is how many limits a Summary has at most.
const LimitsShown = 100

// Member is one node.
type Member struct {
	Node       string   `json:"node"`
	Boot       string   `json:"boot"`
	State      string   `json:"state"` // alive, leaving, dead, joining
	Link       string   `json:"link"`  // from the telling node: self, up, down, refused
	Client     string   `json:"client_addr"`
	Admin      string   `json:"admin_addr"`
	Owned      int      `json:"partitions_owned"`
	Voter      bool     `json:"voter"`
	LeaseAgeMs *int64   `json:"lease_age_ms,omitempty"` // since it last asked the leader; absent when the leader did not say
	Figures    *Figures `json:"figures,omitempty"`      // absent when it did not answer
}

// Figures are what one node counts. The last six are since its start.
type Figures struct {
	Connections int `json:"connections"`
	Attachments int `json:"attachments"`
	Open        int `json:"channels_open"` // as their owner
	Serving     int `json:"partitions_serving"`
	Rebuilding  int `json:"partitions_rebuilding"`

	MessagesIn  uint64 `json:"messages_in"`  // published through it
	MessagesOut uint64 `json:"messages_out"` // delivered to its connections
	Connects    uint64 `json:"connects"`     // refused clients included
	Nacks       uint64 `json:"nacks"`        // publishes refused
	MailboxFull uint64 `json:"mailbox_full"` // commands refused since a channel was too busy
	OutboxFull  uint64 `json:"outbox_full"`  // connections ended since they read too slowly
}

// Placement says who owns each partition, in few bytes.
type Placement struct {
	Nodes     []string `json:"nodes"`
	Owners    []int    `json:"owners"`    // by partition: index into Nodes, -1 for none
	Followers []int    `json:"followers"` // likewise
	Epochs    []uint64 `json:"epochs"`
}

// LiveEvent is one event of the log.
type LiveEvent struct {
	Seq     uint64 `json:"seq"`
	ID      string `json:"id"`
	App     string `json:"app"`
	Channel string `json:"channel"` // "" where it is about no channel
	Type    string `json:"type"`
	TimeMs  int64  `json:"time_ms"`
	Ends    uint64 `json:"ends,omitempty"`
	Note    string `json:"note,omitempty"` // what an event about no channel says
}

// Holders are who holds a channel.
type Holders struct {
	Attachments []Holder `json:"attachments"` // oldest connections first, node by node
	Attached    int      `json:"attached"`    // how many there are
	Silent      []string `json:"silent"`      // nodes that did not say
	Present     []Holder `json:"present"`     // in the order of connection and client
	More        bool     `json:"more"`        // there are others present
	Unknown     string   `json:"unknown"`     // why nobody knows who is present; "" when it is known
}

// Holder is an attachment or a member of the presence set.
type Holder struct {
	Node       string `json:"node,omitempty"`
	Connection string `json:"connection"`
	ClientID   string `json:"client_id"`
	Modes      string `json:"modes,omitempty"`
	As         string `json:"as,omitempty"` // another name than the channel's, for a view of it
	Attached   bool   `json:"attached,omitempty"`
	Remote     string `json:"remote,omitempty"`
	SinceMs    int64  `json:"since_ms"` // of the connection, or of what the member said last; Unix milliseconds
	Data       string `json:"data,omitempty"`
}

// channelHolders is how many of each a page shows.
const channelHolders = 50

type live struct {
	LiveConfig
	readers atomic.Int32
}

// NewLive returns the handler of what pages that people look at need: GET /live, a stream of server-sent events, and GET
// /channel, one channel, and GET /meter, what was open in the past. On the stream comes once a second an event "summary" with a Summary, and after it an event
// "events" with {"events": […], "skipped": N} when there are new ones; the first of these tells the newest of the past,
// or what came after parameter after, a seq.
// Events that came faster than a person reads are skipped, and counted.
func NewLive(c LiveConfig) http.Handler {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Standing == nil {
		c.Standing = func() standing.Standing { return standing.InTouch }
	}
	h := &live{LiveConfig: c}
	mux := http.NewServeMux()
	mux.HandleFunc("/live", only(h.stream, http.MethodGet))
	mux.HandleFunc("/channel", only(h.channel, http.MethodGet, http.MethodHead))
	mux.HandleFunc("/meter", only(h.meter, http.MethodGet, http.MethodHead))
	return mux
}

// stream tells until the reader or the node is gone.
func (h *live) stream(w http.ResponseWriter, r *http.Request) {
	defer h.readers.Add(-1)
	if h.readers.Add(1) > liveReaders {
		refuse(w, http.StatusServiceUnavailable, "%d pages look at this node already; look at another node", liveReaders)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that gathers would make it look dead
	out := http.NewResponseController(w)
	_, last, _ := h.Events(0, 1)
	seen := last - min(last, liveBacklog)
	// A reader that was away is not told again what it has. A seq of the future is another cluster's.
	if id, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64); err == nil && id <= last {
		seen = max(seen, id)
	}
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for !h.Ended() {
		var b bytes.Buffer
		said(&b, "summary", "", h.Summary(r.Context()))
		seen = h.news(&b, seen)
		out.SetWriteDeadline(time.Now().Add(liveTimeout)) // not every writer has deadlines
		if _, err := w.Write(b.Bytes()); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// news appends the events behind seen and returns the seq of the last.
func (h *live) news(b *bytes.Buffer, seen uint64) uint64 {
	_, last, _ := h.Events(seen, 1)
	if last <= seen {
		return seen
	}
	from := max(seen, last-min(last, liveEvents))
	_, _, events := h.Events(from, liveEvents)
	if len(events) == 0 {
		return last
	}
	end := events[len(events)-1].Seq
	said(b, "events", strconv.FormatUint(end, 10), struct {
		Events  []LiveEvent `json:"events"`
		Skipped uint64      `json:"skipped"`
	}{events, events[0].Seq - seen - 1})
	return end
}

// said appends one server-sent event.
func said(b *bytes.Buffer, event, id string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		return // no value here can fail
	}
	b.WriteString("event: " + event + "\n")
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("data: ")
	b.Write(data) // JSON has no line breaks of its own
	b.WriteString("\n\n")
}

// oneChannel is the answer to GET /channel.
type oneChannel struct {
	App       string      `json:"app"`
	Channel   string      `json:"channel"`
	Open      bool        `json:"open"`
	Occupancy occupancy   `json:"occupancy"`
	Events    []LiveEvent `json:"events"` // newest first
	Since     uint64      `json:"since"`  // events from this seq on were looked through
	Holders   *Holders    `json:"holders,omitempty"`
}

// channel answers GET /channel?app=…&channel=…. Names go into parameters, since they may look like paths.
func (h *live) channel(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	answer := oneChannel{App: q.Get("app"), Channel: q.Get("channel"), Events: []LiveEvent{}}
	if answer.App == "" || answer.Channel == "" {
		refuse(w, http.StatusBadRequest, "parameters app and channel must name a channel")
		return
	}
	open, counts, err := h.Query(r.Context(), answer.App, answer.Channel)
	if err != nil {
		h.Logger.Warn("cannot query a channel", "err", err)
		refuse(w, http.StatusServiceUnavailable, "the owner of the channel cannot be asked now: %v", err)
		return
	}
	answer.Open, answer.Occupancy = open, occupancyOf(counts)
	answer.Events, answer.Since = h.past(answer.App, answer.Channel)
	if h.Holders != nil {
		holders := h.Holders(r.Context(), answer.App, answer.Channel, channelHolders)
		answer.Holders = &holders
	}
	respond(w, http.StatusOK, answer)
}

// past looks for the newest events of a channel.
func (h *live) past(app, name string) (newest []LiveEvent, since uint64) {
	newest = []LiveEvent{}
	first, last, _ := h.Events(0, 1)
	after := last - min(last, channelDepth)
	since = max(after+1, first)
	for after < last {
		_, _, events := h.Events(after, 1000)
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			if e.App == app && e.Channel == name {
				newest = append(newest, e)
			}
		}
		after = events[len(events)-1].Seq
	}
	slices.Reverse(newest)
	return newest[:min(len(newest), channelTold)], since
}
