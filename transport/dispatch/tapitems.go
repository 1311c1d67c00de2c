package dispatch

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// itemsOf makes the items of publishes of one channel, for a rule with this source. Batched requests tell a publish in one
// item, others each message in its own. Messages that ask not to be told to rules are left out, and so are annotations.
// What changes a message is told with all of it.
func itemsOf(r *Rule, site string, list []*channel.Delivery) (items []Item, err error) {
	for _, d := range list {
		if protocol.Annotations(d) {
			continue
		}
		d = protocol.Full(d)
		n := len(d.Messages)
		if r.Source == SourceChannelPresence {
			n = len(d.Presence)
		}
		var whole []json.RawMessage
		for i := range n {
			if d.Presence == nil && skipsRule(d.Messages[i].Extras, r.ID) {
				continue
			}
			list := protocol.AppendHistory(nil, protocol.JSON, []protocol.Past{{Of: d, Index: i}})
			whole = append(whole, json.RawMessage(bytes.TrimSpace(list[1:len(list)-1])))
			if r.Ably.Single {
				items = append(items, single(r, d, i, whole[len(whole)-1]))
			}
		}
		if r.Ably.Single || len(whole) == 0 {
			continue
		}
		it := Item{
			ID: d.Serial, Source: r.Source, Name: "channel.message", Channel: d.Name, Serial: d.Serial, TimestampMs: d.TimeMs, Field: "messages",
		}
		if r.Source == SourceChannelPresence {
			it.Name, it.Field = "presence.message", "presence"
		}
		if it.Data, err = json.Marshal(map[string]any{"channelId": d.Name, "site": site, it.Field: whole}); err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, nil
}

// single is one message, or one member, for a request of its own.
func single(r *Rule, d *channel.Delivery, i int, one json.RawMessage) Item {
	it := Item{
		ID: d.Serial + ":" + strconv.Itoa(i), Source: r.Source, Name: "channel.message", Channel: d.Name, Serial: d.Serial,
		TimestampMs: d.TimeMs, Field: "messages", One: one,
	}
	m := &channel.Message{}
	about := map[string]string{"Timestamp": strconv.FormatInt(d.TimeMs, 10), "Connection-Id": d.ConnID, "Serial": d.Serial}
	if r.Source == SourceChannelPresence {
		p := &d.Presence[i]
		it.Name, it.Field = "presence.message", "presence"
		m = &channel.Message{ID: p.ID, ClientID: p.ClientID, Encoding: p.Encoding, Kind: p.Kind, Data: p.Data}
		about["Action"], about["Connection-Id"] = strconv.Itoa(int(p.Action)), p.ConnID
	} else {
		m = &d.Messages[i]
		about["Name"] = m.Name
	}
	if about["Id"] = m.ID; m.ID == "" && d.ID != "" {
		about["Id"] = d.ID + ":" + strconv.Itoa(i)
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
	if !bytes.Contains(extras, []byte(`"skipRule"`)) {
		return false
	}
	var e struct {
		Privileged struct {
			SkipRule json.RawMessage `json:"skipRule"`
		} `json:"privileged"`
	}
	if json.Unmarshal(extras, &e) != nil {
		return false
	}
	var names []string
	if json.Unmarshal(e.Privileged.SkipRule, &names) != nil {
		names = []string{strings.Trim(string(e.Privileged.SkipRule), `"`)}
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
	data := appendString([]byte(`{"channelId":`), name)
	data = appendString(append(data, `,"after":`...), after)
	data = append(data, '}')
	return Item{
		ID: "gap-" + after, Source: r.Source, Name: "channel.gap", Channel: name, Serial: after, Data: data, One: data, Payload: data,
		Type: "application/json", About: map[string]string{"Name": "channel.gap"},
	}
}

// occupancyItem tells a channel's counts.
func occupancyItem(name string, nowMs int64, active bool, counts *channel.Counts) (Item, error) {
	data, err := json.Marshal(map[string]any{
		"channelId": name, "name": name,
		"status": map[string]any{"isActive": active, "occupancy": map[string]any{"metrics": json.RawMessage(protocol.AppendMetrics(nil, counts))}},
	})
	stamp := strconv.FormatInt(nowMs, 10)
	return Item{
		ID: "occupancy-" + stamp, Source: SourceChannelOccupancy, Name: SourceChannelOccupancy, Channel: name, Serial: "occupancy:" + stamp,
		TimestampMs: nowMs, Data: data, One: data, Payload: data, Type: "application/json",
		About: map[string]string{"Name": SourceChannelOccupancy, "Timestamp": stamp},
	}, err
}
