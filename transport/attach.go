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
		if a := c.forget(pm.Channel); a != nil {
			c.g.shardOf(a.hash).in.push(command{kind: doGone, what: []*attachment{a}})
		}
		c.reply(func(dst []byte) []byte { return protocol.AppendChannelError(dst, c.format, pm.Channel, err) })
		return
	}
	a := order.a
	a.asked = order.granted
	c.g.shardOf(a.hash).in.push(command{kind: doAttach, what: order})
}

func (c *conn) checkAttach(pm *protocol.ProtocolMessage) (*attachOrder, *protocol.ErrorInfo) {
	name, err := c.channelName(pm.Channel)
	if err != nil {
		return nil, err
	}
	params := mergeParams(name.Params, pm.Params)
	ops := c.identity.Capability.Ops(name.Resource())
	order := &attachOrder{
		granted: protocol.RequestedModes(params, pm.Flags) & ops.Modes(),
		noEcho:  params["echo"] == "false" || c.noEcho && params["echo"] != "true",
		serial:  pm.ChannelSerial,
	}
	if name.Meta() {
		order.granted &= protocol.ModeSubscribe // nothing else can be done there
	}
	if order.granted == 0 {
		return nil, protocol.Errorf(protocol.CodeNoCapability, "the key's capability on %q grants none of the requested modes", name.Resource())
	}
	if order.serial == "" {
		if order.rewind, err = parseRewind(params); err != nil {
			return nil, err
		}
	}
	if which, ok := protocol.ParseOccupancy(params["occupancy"]); ok {
		if !ops.Has(auth.ChannelMetadata) {
			return nil, auth.Denied(auth.ChannelMetadata, name.Resource())
		}
		if order.granted.Has(protocol.ModeSubscribe) {
			order.watch = &watch{which: which}
		}
	}
	order.wants = parseWishes(params, order.granted)
	order.params = recognised(params, order)
	if order.a = c.find(pm.Channel); order.a == nil {
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
