package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"innkeeper/cluster"
	"innkeeper/transport"
	"innkeeper/transport/auth"
)

// kindWhereabouts is a request on a link: let go of this connection, and say what became of it.
const kindWhereabouts = 20

// formerMax is how many boots that are over are remembered.
const formerMax = 1000

// fellows are the boots of all nodes, as a gateway asks them for connections that come back.
type fellows struct {
	b     *boot
	began time.Time

	mu     sync.Mutex
	live   map[uint64]string    // node by auth.BootTag
	former map[uint64]time.Time // boots that are over: since when
}

func newFellows(b *boot) *fellows {
	return &fellows{b: b, began: time.Now(), live: map[uint64]string{}, former: map[uint64]time.Time{}}
}

// members follows who is live.
func (f *fellows) members(live []cluster.Peer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	before := f.live
	f.live = make(map[uint64]string, len(live))
	for _, p := range live {
		f.live[auth.BootTag(p.Boot)] = p.Node
		delete(f.former, auth.BootTag(p.Boot))
	}
	for tag := range before {
		if _, still := f.live[tag]; !still {
			f.former[tag] = now
		}
	}
	for len(f.former) > formerMax {
		oldest := now
		var first uint64
		for tag, at := range f.former {
			if !at.After(oldest) {
				first, oldest = tag, at
			}
		}
		delete(f.former, first)
	}
}

// Release implements transport.Peers. A boot of which nothing is known was over before this one began.
func (f *fellows) Release(ctx context.Context, tag uint64, id string) (transport.Whereabouts, error) {
	f.mu.Lock()
	node, live := f.live[tag]
	over, known := f.former[tag]
	if !known {
		over = f.began
	}
	f.mu.Unlock()
	if !live {
		return transport.Whereabouts{Fate: transport.Dropped, Ago: time.Since(over)}, nil
	}
	question := binary.BigEndian.AppendUint64(nil, tag)
	question = append(binary.BigEndian.AppendUint64(question, auth.BootTag(f.b.id)), id...)
	answer, err := f.b.cluster.Request(ctx, node, kindWhereabouts, question)
	if err != nil {
		return transport.Whereabouts{}, err
	}
	return readWhereabouts(answer)
}

// onWhereabouts answers another node's gateway.
func (b *boot) onWhereabouts(_ context.Context, from cluster.Peer, question []byte) ([]byte, error) {
	if len(question) < 16 {
		return nil, fmt.Errorf("a question about a connection has %d bytes", len(question))
	}
	tag, to, id := binary.BigEndian.Uint64(question), binary.BigEndian.Uint64(question[8:]), string(question[16:])
	if tag != auth.BootTag(b.id) || to != auth.BootTag(from.Boot) {
		return nil, fmt.Errorf("a question about a connection is from or for another start of a node")
	}
	return appendWhereabouts(nil, b.gateway.Release(id, to)), nil
}

func appendWhereabouts(dst []byte, w transport.Whereabouts) []byte {
	dst = append(dst, byte(w.Fate))
	dst = binary.BigEndian.AppendUint64(dst, uint64(w.Ago))
	return binary.BigEndian.AppendUint64(dst, w.Boot)
}

func readWhereabouts(b []byte) (transport.Whereabouts, error) {
	if len(b) != 1+8+8 || b[0] > byte(transport.Moved) {
		return transport.Whereabouts{}, fmt.Errorf("an answer about a connection cannot be read: %x", b)
	}
	return transport.Whereabouts{
		Fate: transport.Fate(b[0]), Ago: time.Duration(binary.BigEndian.Uint64(b[1:])), Boot: binary.BigEndian.Uint64(b[9:]),
	}, nil
}

var _ transport.Peers = (*fellows)(nil)
