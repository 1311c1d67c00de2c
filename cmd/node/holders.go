package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"innkeeper/channel"
	"innkeeper/cluster"
	"innkeeper/raftstore"
	"innkeeper/transport"
	"innkeeper/transport/admin"
)

// kindAttachments is a request on a link: who is attached to that channel at your gateway?
const kindAttachments = 21

type attachmentsAsked struct {
	App, Channel string
	Limit        int
}

type attachmentsTold struct {
	List  []transport.AttachmentInfo
	Total int
}

// attachmentsMax bounds what one node tells of its attachments.
const attachmentsMax = 1000

func (b *boot) onAttachments(_ context.Context, _ cluster.Peer, payload []byte) ([]byte, error) {
	var q attachmentsAsked
	if err := json.Unmarshal(payload, &q); err != nil {
		return nil, err
	}
	if b.stopping.Load() {
		return nil, errors.New("stopping")
	}
	return json.Marshal(b.attachments(q))
}

func (b *boot) attachments(q attachmentsAsked) (told attachmentsTold) {
	told.List, told.Total = b.gateway.Attachments(q.App, q.Channel, min(max(q.Limit, 0), attachmentsMax))
	return told
}

// holders implements admin.LiveConfig.Holders. All nodes are asked at the same time; who does not answer is named.
func (b *boot) holders(ctx context.Context, app, name string, limit int) admin.Holders {
	ctx, cancel := context.WithTimeout(ctx, figuresTimeout)
	defer cancel()
	q := attachmentsAsked{app, name, limit}
	payload, _ := json.Marshal(q) // plain data
	members := b.store.View().Members
	said := make([]*attachmentsTold, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		switch {
		case m.State == raftstore.Dead:
		case m.Boot == b.id:
			own := b.attachments(q)
			said[i] = &own
		default:
			all.Go(func() {
				var told attachmentsTold
				answer, err := b.cluster.Request(ctx, m.Node, kindAttachments, payload)
				if err == nil && json.Unmarshal(answer, &told) == nil {
					said[i] = &told
				}
			})
		}
	}
	h := admin.Holders{Attachments: []admin.Holder{}, Silent: []string{}, Present: []admin.Holder{}}
	present, err := b.gateway.Presence(ctx, app, name, channel.PresenceQuery{Limit: limit})
	if err == nil && present.Refusal != channel.Accepted {
		err = fmt.Errorf("its owner does not serve it now")
	}
	if err != nil {
		h.Unknown = err.Error()
	}
	for i := range present.Members {
		m := &present.Members[i]
		h.Present = append(h.Present, admin.Holder{Connection: m.ConnID, ClientID: m.ClientID, SinceMs: m.TimeMs, Data: shown(m)})
	}
	h.More = present.More
	all.Wait()
	for i, m := range members {
		switch {
		case said[i] != nil:
			h.Attached += said[i].Total
			for _, a := range said[i].List {
				if len(h.Attachments) == limit {
					break
				}
				one := admin.Holder{
					Node: m.Node, Connection: a.Connection, ClientID: a.ClientID, Modes: a.Modes, Attached: a.Attached, Remote: a.Remote, SinceMs: a.SinceMs,
				}
				if a.As != name {
					one.As = a.As
				}
				h.Attachments = append(h.Attachments, one)
			}
		case m.State != raftstore.Dead:
			h.Silent = append(h.Silent, m.Node)
		}
	}
	return h
}

// shownBytes is how much of a member's data a page shows.
const shownBytes = 200

// shown is a member's data for people.
func shown(m *channel.Member) string {
	switch {
	case m.Kind == channel.NoData:
		return ""
	case m.Kind == channel.BinaryData || !utf8.Valid(m.Data):
		return fmt.Sprintf("%d bytes", len(m.Data))
	case len(m.Data) <= shownBytes:
		return string(m.Data)
	}
	cut := shownBytes
	for !utf8.RuneStart(m.Data[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", m.Data[:cut], len(m.Data))
}
