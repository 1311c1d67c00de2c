package transport

import (
	"strconv"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/auth"
)

// Present has members be present on a channel for as long as this gateway serves, under a connection that nobody has. It is
// for tests of clients, which find them there. They have no ids yet.
func (g *Gateway) Present(app, name string, members []channel.Member) {
	id := auth.NewConnectionID()
	kept := make(map[string]channel.Member, len(members))
	for i, m := range members {
		m.Action, m.ConnID, m.ID = channel.Present, id, id+":0:"+strconv.Itoa(i)
		kept[m.ClientID] = m
	}
	hash := ring.Hash(app, name)
	g.shardOf(hash).in.force(command{kind: doInspect, what: func(s *shard) {
		ch := s.open(s.at(hash), channelKey{app, name})
		if ch.holds == nil {
			ch.holds = make(map[string]*hold)
		}
		ch.holds[id] = &hold{ch: ch, id: id, remainMs: remainMax.Milliseconds(), fixed: true, whole: true, taken: 1, members: kept, changed: true}
		s.touch(ch)
	}})
}

// Absent ends what Present began, on all channels of an app.
func (g *Gateway) Absent(app string) {
	for _, s := range g.shards {
		s.in.force(command{kind: doInspect, what: func(s *shard) {
			for _, p := range s.parts {
				if p == nil {
					continue
				}
				for key, ch := range p.channels {
					for _, h := range ch.holds {
						if key.app == app && h.fixed {
							delete(ch.holds, h.id)
							ch.overs = append(ch.overs, channel.Hold{ConnID: h.id, Era: h.era, State: channel.HoldOver})
							s.touch(ch)
						}
					}
				}
			}
		}})
	}
}
