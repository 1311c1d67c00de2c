package transport

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
)

// Publish puts messages on a channel, for callers other than connections, and returns the channelSerial they got. The
// gateway sets p's App, Name and Req, and its ID where it has none. An error is a *protocol.ErrorInfo or the context's;
// after one that is not a refusal it is unknown whether the messages were published.
func (g *Gateway) Publish(ctx context.Context, app, name string, p channel.Publish) (serial string, err error) {
	p.App, p.Name = app, name
	if p.ID == "" {
		var b [9]byte
		rand.Read(b[:])
		p.ID = base64.RawURLEncoding.EncodeToString(b[:])
	}
	p.Req = g.requestID.Add(1)
	m, err := g.ask(ctx, g.partition(app, name), p.Req, &p)
	if err != nil {
		return "", err
	}
	g.count.messagesIn.Add(uint64(len(p.Messages)))
	g.tallies.of(app).rest.add(p.Messages, 1)
	return m.(*channel.Published).Serial, nil
}

// Query asks the owner for a channel's state.
func (g *Gateway) Query(ctx context.Context, app, name string) (channel.QueryResult, error) {
	q := &channel.Query{App: app, Name: name, Req: g.requestID.Add(1)}
	m, err := g.ask(ctx, g.partition(app, name), q.Req, q)
	if err != nil {
		return channel.QueryResult{}, err
	}
	return *m.(*channel.QueryResult), nil
}

// History asks the owner for publishes that a channel keeps. The gateway sets q's App, Name and Req.
func (g *Gateway) History(ctx context.Context, app, name string, q channel.History) (channel.HistoryResult, error) {
	q.App, q.Name, q.Req = app, name, g.requestID.Add(1)
	m, err := g.ask(ctx, g.partition(app, name), q.Req, &q)
	if err != nil {
		return channel.HistoryResult{}, err
	}
	return *m.(*channel.HistoryResult), nil
}

// Presence asks the owner for members of a channel. The gateway sets q's App, Name and Req.
func (g *Gateway) Presence(ctx context.Context, app, name string, q channel.PresenceQuery) (channel.PresencePage, error) {
	q.App, q.Name, q.Req = app, name, g.requestID.Add(1)
	m, err := g.ask(ctx, g.partition(app, name), q.Req, &q)
	if err != nil {
		return channel.PresencePage{}, err
	}
	return *m.(*channel.PresencePage), nil
}

// listAhead is how many partitions one step of List asks at the same time, at most.
const listAhead = 16

// List returns up to limit open channels of an app ("" for all apps) behind a position, in the order of enumeration. next
// is where to go on, nil when there is nothing more. Every partition in the range has to answer: a list is refused rather
// than partial.
func (g *Gateway) List(ctx context.Context, app string, after channel.Position, prefix string, limit int) (items []channel.Listed, next *channel.Position, err error) {
	if limit < 1 {
		return nil, nil, nil
	}
	part := ring.Partition(after.Hash, g.cfg.Partitions)
	// Channels may all sit in the first partition or be spread thinly: look further ahead the longer nothing fills up.
	for ahead := 1; int(part) < g.cfg.Partitions; ahead = min(2*ahead, listAhead) {
		ahead = min(ahead, g.cfg.Partitions-int(part))
		want := channel.List{App: app, After: after, Prefix: prefix, Limit: limit - len(items)}
		results, err := g.listParts(ctx, part, ahead, want)
		if err != nil {
			return nil, nil, err
		}
		for i, r := range results {
			room := limit - len(items)
			cut := len(r.Channels) > room
			items = append(items, r.Channels[:min(len(r.Channels), room)]...)
			last := int(part)+i+1 == g.cfg.Partitions
			if len(items) == limit && (cut || r.More || !last) {
				return items, position(items[len(items)-1]), nil
			}
		}
		part += uint32(ahead)
	}
	return items, nil, nil
}

func position(l channel.Listed) *channel.Position {
	return &channel.Position{Hash: ring.Hash(l.App, l.Name), App: l.App, Name: l.Name}
}

// listParts asks n partitions from the given one on and returns their answers in order.
func (g *Gateway) listParts(ctx context.Context, part uint32, n int, want channel.List) ([]*channel.ListResult, error) {
	waits := make([]<-chan reply, n)
	for i := range waits {
		q := want
		q.Req = g.requestID.Add(1)
		waits[i] = g.send(part+uint32(i), q.Req, &q)
	}
	results := make([]*channel.ListResult, n)
	for i, wait := range waits {
		m, err := await(ctx, wait)
		if err != nil {
			return nil, err
		}
		results[i] = m.(*channel.ListResult)
	}
	return results, nil
}

// ask sends a request and waits for its answer.
func (g *Gateway) ask(ctx context.Context, part uint32, id uint64, m channel.ToOwner) (channel.ToGateway, error) {
	return await(ctx, g.send(part, id, m))
}

func (g *Gateway) send(part uint32, id uint64, m channel.ToOwner) <-chan reply {
	wait := make(chan reply, 1) // room for the answer, should nobody wait for it any more
	r := &request{part: part, id: id, message: m, reply: wait}
	if !g.shardOf(part).in.push(command{kind: doRequest, part: part, what: r}) {
		wait <- reply{err: errClosed}
	}
	return wait
}

func await(ctx context.Context, wait <-chan reply) (channel.ToGateway, error) {
	select {
	case r := <-wait:
		return r.message, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
