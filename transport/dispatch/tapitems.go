package dispatch

import (
	"encoding/json"
	"strconv"
	"strings"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// itemsOf makes the items of publishes of one channel, for a rule with this source. Batched requests tell a publish in one
// item, others each message in its own. Messages that ask not to be told to rules are left out, and so are annotations.
// What changes a message is told with all of it.
func itemsOf(r *Rule, site string, list []*channel.Delivery) (items []Item) {
	name, field := "channel.message", "messages"
	if r.Source == SourceChannelPresence {
		name, field = "presence.message", "presence"
	}
	for _, d := range list {
		if protocol.Annotations(d) {
			continue
		}
		d = protocol.Full(d)
		it := Item{
			RuleItem: protocol.RuleItem{Source: r.Source, Name: name, Serial: d.Serial, TimestampMs: d.TimeMs},
			ID:       d.Serial, Channel: d.Name, Field: field,
		}
		told := toldOf(r, d)
		if r.Ably.Single {
			for n := range told {
				items = append(items, single(r, it, told[n:n+1]))
			}
		} else if len(told) > 0 {
			it.Count, it.Data = len(told), protocol.AppendRuleMessages(nil, r.Ably.Encoding, d.Name, site, field, told)
			items = append(items, it)
		}
	}
	return items
}

// toldOf are the messages or members of a publish that a rule tells of.
func toldOf(r *Rule, d *channel.Delivery) (told []protocol.Past) {
	n := len(d.Messages)
	if r.Source == SourceChannelPresence {
		n = len(d.Presence)
	}
	for i := range n {
		if d.Presence != nil || !skipsRule(d.Messages[i].Extras, r.ID) {
			told = append(told, protocol.Past{Of: d, Index: i})
		}
	}
	return told
}

// single is one message, or one member, for a request of its own; it is the item of the whole publish.
func single(r *Rule, it Item, one []protocol.Past) Item {
	d, i := one[0].Of, one[0].Index
	it.ID, it.Count = d.Serial+":"+strconv.Itoa(i), 1
	if !r.Ably.Plain {
		it.Data = protocol.AppendHistory(nil, r.Ably.Encoding, one)
		return it
	}
	m := &channel.Message{}
	about := map[string]string{"Timestamp": strconv.FormatInt(d.TimeMs, 10), "Connection-Id": d.ConnID, "Serial": d.Serial}
	if r.Source == SourceChannelPresence {
		p := &d.Presence[i]
		m = &channel.Message{ID: p.ID, ClientID: p.ClientID, Encoding: p.Encoding, Kind: p.Kind, Data: p.Data}
		about["Action"], about["Connection-Id"] = strconv.Itoa(int(p.Action)), p.ConnID
	} else {
		m = &d.Messages[i]
		about["Name"] = m.Name
		about["Action"], about["Serial"] = strconv.Itoa(int(protocol.MessageCreate)), protocol.MessageSerial(d.Serial, i)
		if e := m.Edit; e != nil {
			about["Action"], about["Serial"], about["Version"] = strconv.Itoa(int(e.Action)), e.Serial, e.Version
		}
	}
	if about["Id"] = m.ID; m.ID == "" && d.ID != "" {
		about["Id"] = protocol.MessageID(d.ID, i)
	}
	about["Client-Id"], about["Encoding"] = m.ClientID, m.Encoding
	for name, value := range about {
		if value == "" {
			delete(about, name)
		}
	}
	it.About, it.Payload = about, m.Data
	switch {
	case m.Encoding == "json":
		it.Type = "application/json"
	case m.Kind == channel.BinaryData:
		it.Type = "application/octet-stream"
	default:
		it.Type = "text/plain"
	}
	return it
}

// skipsRule says whether a message asks not to be told: extras.privileged.skipRule names the rule, or "*" for all.
func skipsRule(extras []byte, rule string) bool {
	privileged := protocol.Privileged(extras)
	if privileged == nil {
		return false
	}
	var asked map[string]json.RawMessage // no struct, which would take keys in any case
	json.Unmarshal(privileged, &asked)
	skip := asked["skipRule"]
	var names []string
	if json.Unmarshal(skip, &names) != nil {
		names = []string{strings.Trim(string(skip), `"`)}
	}
	for _, name := range names {
		if name == "*" || name == rule {
			return true
		}
	}
	return false
}

// gapItem says that publishes behind a position are gone untold: the target was away for longer than they are kept.
func gapItem(r *Rule, name, after string) Item {
	return Item{
		RuleItem: protocol.RuleItem{
			Source: r.Source, Name: "channel.gap", Serial: after, Data: protocol.AppendRuleGap(nil, r.Ably.Encoding, name, after),
		},
		ID: "gap-" + after, Channel: name, About: map[string]string{"Name": "channel.gap"},
	}.details()
}

// occupancyItem tells a channel's counts.
func occupancyItem(r *Rule, name string, nowMs int64, active bool, counts *channel.Counts) Item {
	stamp := strconv.FormatInt(nowMs, 10)
	return Item{
		RuleItem: protocol.RuleItem{
			Source: SourceChannelOccupancy, Name: SourceChannelOccupancy, Serial: "occupancy:" + stamp, TimestampMs: nowMs,
			Data: protocol.AppendChannelDetails(nil, r.Ably.Encoding, name, active, counts),
		},
		ID: "occupancy-" + stamp, Channel: name, About: map[string]string{"Name": SourceChannelOccupancy, "Timestamp": stamp},
	}.details()
}
