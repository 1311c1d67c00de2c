package meter

import "time"

// Schema is what entries of the flat shape say that they follow.
const Schema = "https://schemas.ably.com/json/app-stats-0.0.5.json"

// Flat is an interval as clients of protocol version 3 and above read it: one number per name, and none that is zero.
type Flat struct {
	AppID      string             `json:"appId,omitempty"`
	IntervalID string             `json:"intervalId"`
	Unit       string             `json:"unit"`
	InProgress string             `json:"inProgress,omitempty"`
	Schema     string             `json:"schema"`
	Entries    map[string]float64 `json:"entries"`
}

// leaf is one number of an interval.
type leaf struct {
	name  string
	value float64
}

// leaves are all numbers of a row by their names in the flat shape.
func leaves(r *Row) []leaf {
	n := func(c Counter) float64 { return float64(r.Counters[c]) }
	list := []leaf{
		{"channels.peak", float64(r.Channels.Peak)},
		{"channels.min", float64(r.Channels.Min)},
		{"channels.mean", r.Mean(&r.Channels)},
		{"channels.opened", n(ChannelsOpened)},
		{"channels.refused", n(ChannelsRefused)},
		{"connections.all.peak", float64(r.Connections.Peak)},
		{"connections.all.min", float64(r.Connections.Min)},
		{"connections.all.mean", r.Mean(&r.Connections)},
		{"connections.all.opened", n(ConnectionsOpened)},
		{"connections.all.refused", n(ConnectionsRefused)},
		{"apiRequests.tokenRequests.succeeded", n(TokenRequests)},
		{"apiRequests.tokenRequests.failed", n(TokenRequestsFailed)},
		{"apiRequests.other.succeeded", n(APIRequests)},
		{"apiRequests.other.failed", n(APIRequestsFailed)},
		{"apiRequests.all.succeeded", n(TokenRequests) + n(APIRequests)},
		{"apiRequests.all.failed", n(TokenRequestsFailed) + n(APIRequestsFailed)},
		{"apiRequests.tokenRequests.refused", n(TokenRequestsRefused)},
		{"apiRequests.other.refused", n(APIRequestsRefused)},
		{"apiRequests.all.refused", n(TokenRequestsRefused) + n(APIRequestsRefused)},
	}
	faults := func(path string, refused, failed float64) {
		for _, kind := range [...]string{".all.", ".messages."} {
			list = append(list, leaf{"messages." + path + kind + "refused", refused}, leaf{"messages." + path + kind + "failed", failed})
		}
	}
	faults("inbound.realtime", n(InboundRealtimeRefused), n(InboundRealtimeFailed))
	faults("inbound.rest", n(InboundRESTRefused), n(InboundRESTFailed))
	for _, path := range [...]string{"inbound.all", "all"} {
		faults(path, n(InboundRealtimeRefused)+n(InboundRESTRefused), n(InboundRealtimeFailed)+n(InboundRESTFailed))
	}
	traffic := func(path string, count, bytes float64) {
		for _, kind := range [...]string{".all.", ".messages."} {
			list = append(list, leaf{"messages." + path + kind + "count", count}, leaf{"messages." + path + kind + "data", bytes})
		}
	}
	in, inBytes := n(InboundRealtime)+n(InboundREST), n(InboundRealtimeBytes)+n(InboundRESTBytes)
	out, outBytes := n(OutboundRealtime), n(OutboundRealtimeBytes)
	traffic("inbound.realtime", n(InboundRealtime), n(InboundRealtimeBytes))
	traffic("inbound.rest", n(InboundREST), n(InboundRESTBytes))
	traffic("inbound.all", in, inBytes)
	traffic("outbound.realtime", out, outBytes)
	traffic("outbound.all", out, outBytes)
	traffic("all", in+out, inBytes+outBytes)
	return list
}

// Flat is the entry in the flat shape. app may be "".
func (e *Entry) Flat(app string) Flat {
	f := Flat{AppID: app, IntervalID: e.Unit.ID(e.StartMs), Unit: e.Unit.String(), InProgress: e.inProgress(), Schema: Schema, Entries: map[string]float64{}}
	for _, l := range leaves(&e.Row) {
		if l.value != 0 {
			f.Entries[l.name] = l.value
		}
	}
	return f
}

func (e *Entry) inProgress() string {
	if e.AsOfMs == 0 {
		return ""
	}
	return time.UnixMilli(e.AsOfMs).UTC().Format(unitForms[Minute])
}

// Nested is an interval as clients of protocol version 2 read it.
type Nested struct {
	IntervalID    string      `json:"intervalId"`
	Unit          string      `json:"unit"`
	InProgress    string      `json:"inProgress,omitempty"`
	All           Traffic     `json:"all"`
	Inbound       Directions  `json:"inbound"`
	Outbound      Directions  `json:"outbound"`
	Connections   Connections `json:"connections"`
	Channels      Resource    `json:"channels"`
	APIRequests   Requests    `json:"apiRequests"`
	TokenRequests Requests    `json:"tokenRequests"`
}

// Traffic is messages by kind.
type Traffic struct {
	All      Amount `json:"all"`
	Messages Amount `json:"messages"`
}

// Amount is how many messages, and how many bytes of data in them.
type Amount struct {
	Count uint64 `json:"count,omitempty"`
	Data  uint64 `json:"data,omitempty"`

	Failed  uint64 `json:"failed,omitempty"`
	Refused uint64 `json:"refused,omitempty"` // because of a limit
}

// Directions is messages by how they came or went.
type Directions struct {
	All      Traffic  `json:"all"`
	Realtime Traffic  `json:"realtime"`
	REST     *Traffic `json:"rest,omitempty"`
}

// Connections is connections by kind.
type Connections struct {
	All Resource `json:"all"`
}

// Resource is a gauge and what goes with it.
type Resource struct {
	Peak    int64   `json:"peak,omitempty"`
	Min     int64   `json:"min,omitempty"`
	Mean    float64 `json:"mean,omitempty"`
	Opened  uint64  `json:"opened,omitempty"`
	Failed  uint64  `json:"failed,omitempty"`
	Refused uint64  `json:"refused,omitempty"`
}

// Requests is how many requests ended how.
type Requests struct {
	Succeeded uint64 `json:"succeeded,omitempty"`
	Failed    uint64 `json:"failed,omitempty"`
	Refused   uint64 `json:"refused,omitempty"`
}

// Nested is the entry in the nested shape.
func (e *Entry) Nested() Nested {
	r := &e.Row
	c := &r.Counters
	traffic := func(count, bytes, failed, refused uint64) Traffic {
		a := Amount{Count: count, Data: bytes, Failed: failed, Refused: refused}
		return Traffic{a, a}
	}
	in, inBytes := c[InboundRealtime]+c[InboundREST], c[InboundRealtimeBytes]+c[InboundRESTBytes]
	failed, refused := c[InboundRealtimeFailed]+c[InboundRESTFailed], c[InboundRealtimeRefused]+c[InboundRESTRefused]
	rest := traffic(c[InboundREST], c[InboundRESTBytes], c[InboundRESTFailed], c[InboundRESTRefused])
	realtime := traffic(c[InboundRealtime], c[InboundRealtimeBytes], c[InboundRealtimeFailed], c[InboundRealtimeRefused])
	out := traffic(c[OutboundRealtime], c[OutboundRealtimeBytes], 0, 0)
	resource := func(g *Gauge, opened, refused Counter) Resource {
		return Resource{Peak: g.Peak, Min: g.Min, Mean: r.Mean(g), Opened: c[opened], Refused: c[refused]}
	}
	connections := resource(&r.Connections, ConnectionsOpened, ConnectionsRefused)
	connections.Failed = c[ConnectionsFailed]
	tokens := Requests{c[TokenRequests], c[TokenRequestsFailed], c[TokenRequestsRefused]}
	return Nested{
		IntervalID: e.Unit.ID(e.StartMs), Unit: e.Unit.String(), InProgress: e.inProgress(),
		All:         traffic(in+c[OutboundRealtime], inBytes+c[OutboundRealtimeBytes], failed, refused),
		Inbound:     Directions{All: traffic(in, inBytes, failed, refused), Realtime: realtime, REST: &rest},
		Outbound:    Directions{All: out, Realtime: out},
		Connections: Connections{All: connections},
		Channels:    resource(&r.Channels, ChannelsOpened, ChannelsRefused),
		APIRequests: Requests{
			tokens.Succeeded + c[APIRequests], tokens.Failed + c[APIRequestsFailed], tokens.Refused + c[APIRequestsRefused],
		},
		TokenRequests: tokens,
	}
}
