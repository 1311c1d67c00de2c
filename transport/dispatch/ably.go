package dispatch

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// AblyForm says which of the forms of an integration rule a rule has. The zero value is batched, in JSON.
type AblyForm struct {
	Single bool // a request for each event instead of a batch
	Plain  bool // with Single: the event alone, what is known about it in headers
	// Encoding is that of bodies, those of plain requests excepted: they are what was published.
	Encoding protocol.Format
	// KeyName and KeySecret sign requests with X-Ably-Signature; "" signs none.
	KeyName, KeySecret string
}

// Item is one event in the form of an integration rule.
type Item struct {
	protocol.RuleItem
	ID      string // stable
	Channel string
	Count   int // messages or members in it, where there can be several

	// Of a single request.
	Field   string            // where Data stands in its envelope
	Payload []byte            // of a plain one
	Type    string            // content type of Payload
	About   map[string]string // headers of a plain one, behind "X-Ably-Message-"
}

// AblyRequest makes the request of a rule for items: one when the rule is single.
func AblyRequest(r *Rule, site string, items []Item) (body []byte, headers map[string]string) {
	f := r.Ably.Encoding
	headers = map[string]string{"X-Ably-Version": "1.2", "Content-Type": contentTypes[f]}
	it := &items[0]
	switch {
	case !r.Ably.Single:
		list := make([]protocol.RuleItem, len(items))
		for i := range items {
			list[i] = items[i].RuleItem
		}
		body = protocol.AppendRuleBatch(nil, f, r.ID, list)
	case r.Ably.Plain:
		body, headers["Content-Type"] = it.Payload, it.Type
		for name, value := range map[string]string{
			"Appid": r.App, "Channel": it.Channel, "Rule-Id": r.ID, "Site": site, "Source": it.Source,
		} {
			headers["X-Ably-Envelope-"+name] = headerText(value)
		}
		for name, value := range it.About {
			headers["X-Ably-Message-"+name] = headerText(value)
		}
	default:
		body = protocol.AppendRuleEnvelope(nil, f, &protocol.RuleEnvelope{
			Source: it.Source, App: r.App, Channel: it.Channel, Site: site, Rule: r.ID, TimestampMs: it.TimestampMs, Field: it.Field, Value: it.Data,
		})
	}
	if r.Ably.KeyName != "" {
		mac := hmac.New(sha256.New, []byte(r.Ably.KeySecret))
		mac.Write(body)
		headers["X-Ably-Key"] = r.Ably.KeyName
		headers["X-Ably-Signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return body, headers
}

var contentTypes = [...]string{protocol.JSON: "application/json", protocol.MsgPack: "application/x-msgpack"}

// headerText is a value as a header can carry it: names of channels may hold anything.
func headerText(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			quoted := strconv.QuoteToASCII(s)
			return quoted[1 : len(quoted)-1]
		}
	}
	return s
}

// item is an event about a channel's life. What it says of the occupancy is as of now.
func (s *httpSink) item(ctx context.Context, e *Event) (Item, error) {
	var counts channel.Counts
	if e.Kind == Opened && s.counts != nil {
		var err error
		if counts, err = s.counts(ctx, e.App, e.Channel); err != nil {
			return Item{}, fmt.Errorf("the occupancy of %q: %w", e.Channel, err)
		}
	}
	name := "channel." + e.Kind.String()
	return Item{
		RuleItem: protocol.RuleItem{
			Source: SourceChannelLifecycle, Name: name, Serial: serialOf(e), TimestampMs: e.TimeMs,
			Data: protocol.AppendChannelDetails(nil, s.rule.Ably.Encoding, e.Channel, e.Kind == Opened, &counts),
		},
		ID: e.ID, Channel: e.Channel,
		About: map[string]string{"Name": name, "Id": e.ID, "Timestamp": strconv.FormatInt(e.TimeMs, 10)},
	}.details(), nil
}

// details is an item that tells a document and no messages: plain requests have the document.
func (it Item) details() Item {
	it.Field, it.Payload, it.Type = "data", it.Data, contentTypes[protocol.JSON]
	return it
}

// serialOf is an event's id as a serial: the cluster's series, a colon, the seq.
func serialOf(e *Event) string {
	series := e.ID
	for i := len(series) - 1; i >= 0; i-- {
		if series[i] == '-' {
			series = series[:i]
			break
		}
	}
	return series + ":" + strconv.FormatUint(e.Seq, 10)
}
