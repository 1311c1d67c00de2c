package transport

import (
	"strconv"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// publish serves a MESSAGE: it checks it, takes its place in the window of un-acknowledged publishes and hands it to the
// channel's shard. A full window or queue makes the read loop wait here, and with it the client.
func (c *conn) publish(pm *protocol.ProtocolMessage) { c.put(pm, c.checkPublish) }

func (c *conn) put(pm *protocol.ProtocolMessage, check func(*protocol.ProtocolMessage) (*channel.Publish, *protocol.ErrorInfo)) {
	p, err := check(pm)
	if err != nil {
		c.nack(pm, err)
		return
	}
	err, ended := c.limitPublish(len(p.Messages))
	if ended {
		return
	}
	if err != nil {
		c.nack(pm, err)
		return
	}
	if !c.acks.wait(c.g.cfg.MaxInflight, c.g.cfg.MaxInflightBytes) {
		return
	}
	c.g.count.messagesIn.Add(uint64(len(p.Messages)))
	c.g.tallies.of(c.identity.App).realtime.add(p.Messages, 1)
	r := &request{
		hash:     ring.Hash(p.App, p.Name),
		id:       c.g.requestID.Add(1),
		message:  p,
		conn:     c,
		position: c.acks.add(pm.MsgSerial, protocol.Size(p.Messages)),
		messages: len(p.Messages),
	}
	p.Req = r.id
	c.g.shardOf(r.hash).in.push(command{kind: doRequest, what: r})
}

func (c *conn) checkPublish(pm *protocol.ProtocolMessage) (*channel.Publish, *protocol.ErrorInfo) {
	name, err := c.channelName(pm.Channel)
	if err != nil {
		return nil, err
	}
	changes := protocol.Changes(pm.Messages)
	if !changes {
		err = c.mayPublish(pm.Channel, name, protocol.ModePublish, auth.Publish)
	} else if name.Qualifier != "" {
		err = auth.Denied(auth.MessageUpdateOwn, name.Resource())
	}
	if err != nil {
		return nil, err
	}
	if pm.Params["_forceNack"] == "true" {
		return nil, protocol.NewError(protocol.CodeForcedNack)
	}
	if pm.TooMany {
		return nil, protocol.Errorf(protocol.CodeTooManyMessages, "too many messages in one publish: the limit is %d", protocol.MaxMessages)
	}
	messages, base, err := protocol.Canonical(pm.Messages, protocol.CanonicalOptions{MaxSize: c.maxSize()})
	if err != nil {
		return nil, c.measured(err)
	}
	if base == "" {
		base = c.id + ":" + strconv.FormatInt(pm.MsgSerial, 10)
	}
	if err := c.identity.MayPrivilege(messages, name.Resource()); err != nil {
		return nil, err
	}
	c.identity.Vouch(messages, name.Base)
	p := &channel.Publish{
		App: c.identity.App, Name: name.Channel(), ConnID: c.id, MsgSerial: pm.MsgSerial, ID: base, Messages: messages,
	}
	if changes {
		p.MaxBytes = c.maxSize()
		p.OwnOnly, err = c.identity.Change(&messages[0], name.Resource())
		return p, err
	}
	if p.Ephemeral, err = protocol.Ephemeral(messages); err != nil {
		return nil, err
	}
	p.Ephemeral = p.Ephemeral || pm.Params["ephemeral"] == "true"
	return p, c.identity.Claim(messages)
}

// annotate serves an ANNOTATION: its annotations are published like messages.
func (c *conn) annotate(pm *protocol.ProtocolMessage) { c.put(pm, c.checkAnnotations) }

func (c *conn) checkAnnotations(pm *protocol.ProtocolMessage) (*channel.Publish, *protocol.ErrorInfo) {
	name, err := c.channelName(pm.Channel)
	if err != nil {
		return nil, err
	}
	if err := c.mayPublish(pm.Channel, name, protocol.ModeAnnotationPublish, auth.AnnotationPublish); err != nil {
		return nil, err
	}
	if pm.TooMany {
		return nil, protocol.Errorf(protocol.CodeTooManyMessages, "too many annotations in one publish: the limit is %d", protocol.MaxMessages)
	}
	messages, base, err := protocol.CanonicalAnnotations(pm.Annotations, protocol.CanonicalOptions{MaxSize: c.maxSize()})
	if err != nil {
		return nil, c.measured(err)
	}
	if base == "" {
		base = c.id + ":" + strconv.FormatInt(pm.MsgSerial, 10)
	}
	if err := c.identity.MayPrivilege(messages, name.Resource()); err != nil {
		return nil, err
	}
	c.identity.Vouch(messages, name.Base)
	return &channel.Publish{
		App: c.identity.App, Name: name.Channel(), ConnID: c.id, MsgSerial: pm.MsgSerial, ID: base, Messages: messages,
	}, c.identity.ClaimAnnotations(messages)
}

// maxSize is how many bytes one publish of the connection's app may have, as protocol.Size counts them.
func (c *conn) maxSize() int { return c.gate.MaxMessageSize(c.g.cfg.MaxMessageSize) }

// measured counts a publish that was larger than that, and is the error as it came.
func (c *conn) measured(err *protocol.ErrorInfo) *protocol.ErrorInfo {
	if err.Code == protocol.CodeTooLarge {
		c.gate.TooLarge(c.g.cfg.MaxMessageSize)
	}
	return err
}

// mayPublish asks the attachment of that name, or the capability where there is none.
func (c *conn) mayPublish(written string, name protocol.Name, mode protocol.Flags, op auth.OpSet) *protocol.ErrorInfo {
	if name.Meta() {
		return protocol.Errorf(protocol.CodeNoCapability, "operation not permitted: nothing can be published on a metachannel, this is %q", written)
	}
	a := c.find(written)
	if a != nil && a.asked.Has(mode) {
		return nil
	}
	if !c.identity.Capability.Allows(name.Resource(), op) {
		return auth.Denied(op, name.Resource())
	}
	if a != nil {
		return protocol.Errorf(protocol.CodeModeNotRequested, "the attachment to %q was made without the mode %s", written, protocol.ModeNames(mode))
	}
	return nil
}

// nack refuses a frame that takes a msgSerial, in its turn.
func (c *conn) nack(pm *protocol.ProtocolMessage, err *protocol.ErrorInfo) {
	c.tally.fault(err, len(pm.Messages)+len(pm.Annotations)+len(pm.Presence), false)
	if !c.acks.wait(c.g.cfg.MaxInflight, c.g.cfg.MaxInflightBytes) {
		return
	}
	if c.acks.done(c.acks.add(pm.MsgSerial, 0), protocol.Ack{}, err) {
		f := flushers.Get().(*flusher)
		c.settle(f, c.emit(f))
		flushers.Put(f)
	}
}
