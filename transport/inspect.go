package transport

import (
	"cmp"
	"slices"
	"strings"

	"innkeeper/cluster/ring"
	"innkeeper/transport/protocol"
)

// AttachmentInfo describes to an operator one connection's hold on a channel.
type AttachmentInfo struct {
	Connection string `json:"connection"`
	ClientID   string `json:"client_id"` // "" for an unidentified client
	Modes      string `json:"modes"`     // granted, separated by commas
	As         string `json:"as"`        // the name that the client wrote: another one than the channel's for a view of it
	Attached   bool   `json:"attached"`  // the owner has confirmed it
	Remote     string `json:"remote"`
	SinceMs    int64  `json:"since_ms"` // the connection's begin, Unix milliseconds
}

// Attachments describes up to limit attachments to a channel at this gateway, oldest connections first, and says how many
// there are. It asks the channel's shard and so takes as long as that one's current batch.
func (g *Gateway) Attachments(app, name string, limit int) (list []AttachmentInfo, total int) {
	s := g.shardOf(ring.Hash(app, name))
	done := make(chan struct{})
	look := func(s *shard) {
		defer close(done)
		list, total = s.attachmentsOf(channelKey{app, name}, limit)
	}
	if s.in.force(command{kind: doInspect, what: look}) {
		select {
		case <-done:
		case <-s.done: // it ended before it looked
			return nil, 0
		}
	}
	return list, total
}

func (s *shard) attachmentsOf(key channelKey, limit int) (list []AttachmentInfo, total int) {
	ch := s.at(ring.Hash(key.app, key.name)).channels[key]
	if ch == nil {
		return nil, 0
	}
	for _, a := range ch.attachments {
		info := AttachmentInfo{
			Connection: a.conn.id, Modes: protocol.ModeNames(a.granted), As: a.name, Attached: a.attached,
			Remote: a.conn.raw.RemoteAddr().String(), SinceMs: a.conn.since,
		}
		if who := a.conn.who.Load(); who != nil {
			info.ClientID = who.ClientID
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b AttachmentInfo) int {
		return cmp.Or(cmp.Compare(a.SinceMs, b.SinceMs), strings.Compare(a.Connection, b.Connection), strings.Compare(a.As, b.As))
	})
	return list[:min(len(list), limit)], len(list)
}
