package transport

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"math"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/limits"
	"innkeeper/transport/protocol"
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
	tally := g.tallies.of(app)
	if r := g.cfg.Gates.Of(app).Spend(limits.MessageRate, len(p.Messages)); r != nil {
		refusal := r.Info()
		tally.fault(refusal, len(p.Messages), true)
		return "", refusal
	}
	m, err := g.ask(ctx, ring.Hash(app, name), p.Req, &p)
	if err != nil {
		tally.fault(protocol.AsError(err), len(p.Messages), true)
		return "", err
	}
	g.count.messagesIn.Add(uint64(len(p.Messages)))
	g.tallies.of(app).rest.add(p.Messages, 1)
	return m.(*channel.Published).Serial, nil
}

// Query asks the owner for a channel's state.
func (g *Gateway) Query(ctx context.Context, app, name string) (channel.QueryResult, error) {
	q := &channel.Query{App: app, Name: name, Req: g.requestID.Add(1)}
	m, err := g.ask(ctx, ring.Hash(app, name), q.Req, q)
	if err != nil {
		return channel.QueryResult{}, err
	}
	return *m.(*channel.QueryResult), nil
}

// History asks the owner for publishes that a channel keeps. The gateway sets q's App, Name and Req.
func (g *Gateway) History(ctx context.Context, app, name string, q channel.History) (channel.HistoryResult, error) {
	q.App, q.Name, q.Req = app, name, g.requestID.Add(1)
	m, err := g.ask(ctx, ring.Hash(app, name), q.Req, &q)
	if err != nil {
		return channel.HistoryResult{}, err
	}
	return *m.(*channel.HistoryResult), nil
}

// Presence asks the owner for members of a channel. The gateway sets q's App, Name and Req.
func (g *Gateway) Presence(ctx context.Context, app, name string, q channel.PresenceQuery) (channel.PresencePage, error) {
	q.App, q.Name, q.Req = app, name, g.requestID.Add(1)
	m, err := g.ask(ctx, ring.Hash(app, name), q.Req, &q)
	if err != nil {
		return channel.PresencePage{}, err
	}
	return *m.(*channel.PresencePage), nil
}

// Lookup asks the owner for one message that a channel keeps, its versions or its annotations. The gateway sets q's App,
// Name and Req. A message that is not kept is channel.NotFound.
func (g *Gateway) Lookup(ctx context.Context, app, name string, q channel.Lookup) (channel.HistoryResult, error) {
	q.App, q.Name, q.Req = app, name, g.requestID.Add(1)
	m, err := g.ask(ctx, ring.Hash(app, name), q.Req, &q)
	if err != nil {
		return channel.HistoryResult{}, err
	}
	return *m.(*channel.HistoryResult), nil
}

// listAhead is how many partitions one step of List asks at the same time, at most.
const listAhead = 16

// List returns up to limit open channels of an app ("" for all apps) behind a position, in the order of enumeration. next
// is where to go on, nil when there is nothing more. Every partition in the range has to answer: a list is refused rather
// than partial. It goes by places on the ring, so it does not mind when the ring is cut anew meanwhile.
func (g *Gateway) List(ctx context.Context, app string, after channel.Position, prefix string, limit int) (items []channel.Listed, next *channel.Position, err error) {
	if limit < 1 {
		return nil, nil, nil
	}
	want := channel.List{App: app, After: after, Prefix: prefix}
	// Channels may all sit in the first partition or be spread thinly: look further ahead the longer nothing fills up.
	for ahead := 1; ; ahead = min(2*ahead, listAhead) {
		want.Limit = limit - len(items)
		answers, err := g.listFrom(ctx, ahead, want)
		if err != nil {
			return nil, nil, err
		}
		for _, a := range answers {
			if a.from != want.After.Hash {
				break // the ring was cut anew: what this answer is about begins elsewhere than the last one ended
			}
			room := limit - len(items)
			cut := len(a.Channels) > room
			items = append(items, a.Channels[:min(len(a.Channels), room)]...)
			end := a.last == math.MaxUint64
			switch {
			case len(items) == limit && (cut || a.More || !end):
				return items, position(items[len(items)-1]), nil
			case a.More:
				want.After = *position(items[len(items)-1])
			case end:
				return items, nil, nil
			default:
				want.After = channel.Position{Hash: a.last + 1}
			}
		}
	}
}

func position(l channel.Listed) *channel.Position {
	return &channel.Position{Hash: ring.Hash(l.App, l.Name), App: l.App, Name: l.Name}
}

// listing is what the owner of a partition answered: about the places on the ring from one to another, both included.
type listing struct {
	*channel.ListResult
	from, last uint64
}

// listFrom asks the partition in which a position lies, and up to n-1 that follow it, and returns their answers in order.
func (g *Gateway) listFrom(ctx context.Context, n int, want channel.List) ([]listing, error) {
	partitions := int(g.partitions.Load())
	var waits []<-chan reply
	var answers []listing
	for part := ring.Partition(want.After.Hash, partitions); len(waits) < n && int(part) < partitions; part++ {
		q := want
		if len(waits) > 0 {
			q.After = channel.Position{Hash: ring.First(part, partitions)}
		}
		q.Req = g.requestID.Add(1)
		waits = append(waits, g.send(q.After.Hash, q.Req, &q))
		answers = append(answers, listing{from: q.After.Hash})
	}
	for i, wait := range waits {
		r, err := await(ctx, wait)
		if err != nil {
			return nil, err
		}
		answers[i].ListResult, answers[i].last = r.message.(*channel.ListResult), r.last
	}
	return answers, nil
}

// ask sends a request to the owner of a place on the ring and waits for its answer.
func (g *Gateway) ask(ctx context.Context, hash, id uint64, m channel.ToOwner) (channel.ToGateway, error) {
	r, err := await(ctx, g.send(hash, id, m))
	return r.message, err
}

func (g *Gateway) send(hash, id uint64, m channel.ToOwner) <-chan reply {
	wait := make(chan reply, 1) // room for the answer, should nobody wait for it any more
	r := &request{hash: hash, id: id, message: m, reply: wait}
	if !g.shardOf(hash).in.push(command{kind: doRequest, what: r}) {
		wait <- reply{err: errClosed}
	}
	return wait
}

func await(ctx context.Context, wait <-chan reply) (reply, error) {
	select {
	case r := <-wait:
		return r, r.err
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
}
