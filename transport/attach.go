package transport

import (
	"slices"

	"innkeeper/cluster/ring"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// find is the connection's attachment of that name, nil if there is none. There are few, so a list is enough.
func (c *conn) find(name string) *attachment {
	for _, a := range c.attachments {
		if a.name == name {
			return a
		}
	}
	return nil
}

// attach serves an ATTACH: it checks what the connection alone can check and leaves the rest to the channel's shard.
func (c *conn) attach(pm *protocol.ProtocolMessage) {
	order, err := c.checkAttach(pm)
	if err != nil {
		// The client takes the channel as failed, so what it held there before must not go on counting.
		if a := c.find(pm.Channel); a != nil {
			c.failChannel(a, err)
			return
		}
		c.reply(func(dst []byte) []byte { return protocol.AppendChannelError(dst, c.format, pm.Channel, err) })
		return
	}
	a := order.a
	a.asked, a.demand = order.granted, order.demand
	a.orders++
	order.number = a.orders
	c.g.shardOf(a.hash).in.push(command{kind: doAttach, what: order})
}

// failChannel ends an attachment with an error. The channel's shard tells the client, since the answers to what it asked
// before come from there: the last word is what the client goes by.
func (c *conn) failChannel(a *attachment, err *protocol.ErrorInfo) {
	c.forget(a.name)
	c.g.shardOf(a.hash).in.push(command{kind: doInspect, what: func(s *shard) { s.fail(a, err) }})
}

// fail ends an attachment, and its connection's members with it.
func (s *shard) fail(a *attachment, err *protocol.ErrorInfo) {
	s.leave(a, true)
	s.sendNew(a.conn, func(dst []byte) []byte { return protocol.AppendChannelError(dst, a.conn.format, a.name, err) })
}

// demand is what a client's ATTACH asks for, whatever it may have: each AUTH is held against it again.
type demand struct {
	modes  protocol.Flags
	params map[string]string // of the qualifier and the frame, those that are understood; not written to any more
}

// understoodParams are the params that an ATTACH may have an effect with. Others are let go with the frame: they may be as
// large as it.
var understoodParams = []string{"modes", "occupancy", "rewind", "rewindLimit", "delta", "appendMode", "echo"}

// paramBytes is the longest value of a param that is kept. All modes have some 150 bytes.
const paramBytes = 1024

// understood is what to keep of an ATTACH's params, nil for none.
func understood(params map[string]string) (kept map[string]string, err *protocol.ErrorInfo) {
	for _, key := range understoodParams {
		value, ok := params[key]
		switch {
		case !ok:
			continue
		case len(value) > paramBytes:
			return nil, protocol.Errorf(protocol.CodeBadParamValue, "the channel param %s has %d bytes, the limit is %d", key, len(value), paramBytes)
		case kept == nil:
			kept = make(map[string]string, min(len(params), len(understoodParams)))
		}
		kept[key] = value
	}
	return kept, nil
}

// order is what a demand comes to by what the connection may do now.
func (c *conn) order(name protocol.Name, d demand) *attachOrder {
	ops := c.identity.Capability.Ops(name.Resource())
	o := &attachOrder{
		demand:  d,
		granted: d.modes & ops.Modes(),
		noEcho:  d.params["echo"] == "false" || c.noEcho && d.params["echo"] != "true",
	}
	if which, ok := protocol.ParseOccupancy(d.params["occupancy"]); ok && ops.Has(auth.ChannelMetadata) && o.granted.Has(protocol.ModeSubscribe) {
		o.watch = &watch{which: which}
	}
	o.wants = parseWishes(d.params, o.granted)
	o.params = recognised(d.params, o)
	return o
}

func (c *conn) checkAttach(pm *protocol.ProtocolMessage) (*attachOrder, *protocol.ErrorInfo) {
	name, err := c.channelName(pm.Channel)
	if err != nil {
		return nil, err
	}
	d := demand{}
	if d.params, err = understood(mergeParams(name.Params, pm.Params)); err != nil {
		return nil, err
	}
	d.modes = protocol.RequestedModes(d.params, pm.Flags)
	if name.Meta() {
		d.modes &= protocol.ModeSubscribe // nothing else can be done there
	}
	order := c.order(name, d)
	order.serial = pm.ChannelSerial
	if order.granted == 0 {
		return nil, protocol.Errorf(protocol.CodeNoCapability, "the key's capability on %q grants none of the requested modes", name.Resource())
	}
	if order.serial == "" {
		if order.rewind, err = parseRewind(d.params); err != nil {
			return nil, err
		}
	}
	if _, ok := protocol.ParseOccupancy(d.params["occupancy"]); ok && !c.identity.Capability.Allows(name.Resource(), auth.ChannelMetadata) {
		return nil, auth.Denied(auth.ChannelMetadata, name.Resource())
	}
	if order.a = c.find(pm.Channel); order.a == nil {
		if len(c.attachments) >= c.g.cfg.MaxChannels {
			c.forgetFailed()
		}
		if len(c.attachments) >= c.g.cfg.MaxChannels {
			return nil, protocol.Errorf(protocol.CodeTooManyChannels, "the connection is attached to %d channels, which is the limit", len(c.attachments))
		}
		order.a = c.newAttachment(pm.Channel, name)
	}
	return order, nil
}

func (c *conn) newAttachment(written string, name protocol.Name) *attachment {
	key := channelKey{c.identity.App, name.Channel()}
	if key.name == written {
		written = key.name
	}
	a := &attachment{conn: c, key: key, name: written, hash: ring.Hash(key.app, key.name)}
	if i := slices.IndexFunc(c.attachments, func(other *attachment) bool { return other.key == key }); i >= 0 {
		a.names = c.attachments[i].names
	} else {
		a.names = new(names)
	}
	c.attachments = append(c.attachments, a)
	c.opened.Store(int32(len(c.attachments)))
	return a
}

// channelName takes a name apart and refuses the views that are not served.
func (c *conn) channelName(written string) (protocol.Name, *protocol.ErrorInfo) {
	name, err := protocol.ParseName(written)
	switch {
	case err != nil:
		return name, err
	case name.Meta():
		return name, c.g.metachannel(c.identity.App, name)
	case name.Qualifier == protocol.QualifierFilter:
		return name, protocol.Errorf(protocol.CodeBadChannelName, "filtered channels are not supported yet: %q", written)
	}
	return name, nil
}

// mergeParams is the params of a qualifier overridden by those of the frame.
func mergeParams(qualifier, frame map[string]string) map[string]string {
	if len(qualifier) == 0 {
		return frame
	}
	for k, v := range frame {
		qualifier[k] = v
	}
	return qualifier
}

// recognised is what ATTACHED repeats: the params that have an effect here, as applied. Nil when there are none.
func recognised(params map[string]string, o *attachOrder) map[string]string {
	var out map[string]string
	put := func(key, value string) {
		if out == nil {
			out = make(map[string]string, 1)
		}
		out[key] = value
	}
	if _, ok := params["modes"]; ok {
		put("modes", protocol.ModeNames(o.granted))
	}
	if o.watch != nil {
		put("occupancy", params["occupancy"])
	}
	for _, key := range []string{"rewind", "rewindLimit"} {
		if v, ok := params[key]; ok {
			put(key, v)
		}
	}
	if o.wants != nil && o.wants.deltas {
		put("delta", "vcdiff")
	}
	if o.wants != nil && o.wants.wholeAppends {
		put("appendMode", "full")
	}
	if v := params["echo"]; v == "true" || v == "false" {
		put("echo", v)
	}
	return out
}

// detach serves a DETACH. One that finds nothing is answered like any other.
func (c *conn) detach(pm *protocol.ProtocolMessage) {
	if a := c.forget(pm.Channel); a != nil {
		c.g.shardOf(a.hash).in.push(command{kind: doDetach, what: a})
		return
	}
	c.reply(func(dst []byte) []byte { return protocol.AppendDetached(dst, c.format, pm.Channel, nil) })
}

// forget takes the attachment of that name off the list and returns it, nil if there is none.
func (c *conn) forget(name string) *attachment {
	i := slices.IndexFunc(c.attachments, func(a *attachment) bool { return a.name == name })
	if i < 0 {
		return nil
	}
	a := c.attachments[i]
	last := len(c.attachments) - 1
	c.attachments[i] = c.attachments[last]
	c.attachments[last] = nil
	if c.attachments = c.attachments[:last]; last == 0 {
		c.attachments = nil
	}
	c.opened.Store(int32(last))
	return a
}

// forgetFailed takes attachments off the list that owners refused: clients do not detach from channels that failed.
func (c *conn) forgetFailed() {
	for i := len(c.attachments) - 1; i >= 0; i-- { // forget moves only those behind it
		if a := c.attachments[i]; a.hasFailed() {
			c.forget(a.name)
		}
	}
}

// leaveChannels tells the shards that the connection is gone: its attachments stop counting at once.
func (c *conn) leaveChannels() {
	if len(c.attachments) == 0 {
		return
	}
	gone := make([][]*attachment, len(c.g.shards))
	for _, a := range c.attachments {
		i := c.g.shardIndex(a.hash)
		gone[i] = append(gone[i], a)
	}
	c.attachments = nil
	c.opened.Store(0)
	for i, list := range gone {
		if len(list) > 0 {
			c.g.shards[i].in.push(command{kind: doGone, what: list})
		}
	}
}
