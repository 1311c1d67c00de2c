package transport

import (
	"maps"

	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// CredentialsChanged has all connections looked at again, after keys or revocations were replaced: those whose key is
// gone or shut end for good, those whose token was revoked end or are asked for another one. It returns when that is done.
func (g *Gateway) CredentialsChanged() { g.sweeper.each(g.judge) }

// judge looks at one connection's credentials.
func (g *Gateway) judge(c *conn) {
	id := c.who.Load()
	if id == nil {
		return
	}
	if err := g.cfg.Auth.Refusal(id.KeyName); err != nil {
		c.fail(endRevoked, 1008, err)
		return
	}
	g.lapses.watch(c)
}

// reauth serves an AUTH: the connection goes on under another token of the same client. Channels that the token does not
// allow fail one by one.
func (c *conn) reauth(pm *protocol.ProtocolMessage) {
	id, err := c.newIdentity(pm.AccessToken)
	if err != nil {
		c.fail(endAuth, 1008, err)
		return
	}
	c.identity = id
	c.who.Store(&id)
	c.sendConnected(nil)
	c.recheckAttachments()
	c.g.judge(c)
}

func (c *conn) newIdentity(token string) (auth.Identity, *protocol.ErrorInfo) {
	if token == "" {
		return auth.Identity{}, protocol.Errorf(protocol.CodeUnauthorized, "AUTH without an accessToken")
	}
	offer := auth.Credentials{Token: token}
	if c.identity.Concrete() {
		offer.ClientID = c.identity.ClientID
	}
	id, err := c.g.cfg.Auth.Authenticate(offer)
	switch {
	case err != nil:
		return id, err
	case id.App != c.identity.App:
		return id, protocol.Errorf(protocol.CodeIdentityMismatch, "the token is of another app than the connection")
	case id.ClientID != c.identity.ClientID && c.identity.ClientID != auth.Wildcard:
		// Who could be any client may become one; nobody else changes.
		return id, protocol.Errorf(protocol.CodeIdentityMismatch, "clientId of the token is not that of the connection")
	}
	return id, nil
}

// recheckAttachments takes away what the new capability does not allow. What it allows beyond the old one is there for the
// next ATTACH.
func (c *conn) recheckAttachments() {
	for i := len(c.attachments) - 1; i >= 0; i-- {
		a := c.attachments[i] // forget moves only those behind it
		name, err := protocol.ParseName(a.name)
		if err != nil {
			continue // it was attached under this name
		}
		ops := c.identity.Capability.Ops(name.Resource())
		granted := a.asked & ops.Modes()
		switch {
		case granted == 0:
			c.forget(a.name)
			c.g.shardOf(a.hash).in.push(command{kind: doGone, what: []*attachment{a}})
			denied := protocol.Errorf(protocol.CodeNoCapability, "the new token allows none of the channel's modes on %q", name.Resource())
			c.reply(func(dst []byte) []byte { return protocol.AppendChannelError(dst, c.format, a.name, denied) })
		case granted != a.asked, !ops.Has(auth.ChannelMetadata):
			a.asked = granted
			watches := ops.Has(auth.ChannelMetadata)
			c.g.shardOf(a.hash).in.push(command{kind: doInspect, what: func(s *shard) { s.narrow(a, granted, watches) }})
		}
	}
}

// narrow takes modes, and occupancy events where they are not allowed any more, from an attachment. The client hears of
// it by an ATTACHED.
func (s *shard) narrow(a *attachment, granted protocol.Flags, watches bool) {
	if a.ch == nil || granted == a.granted && (watches || a.watch == nil) {
		return
	}
	o := &attachOrder{a: a, granted: granted, noEcho: a.noEcho, serial: a.serial, params: maps.Clone(a.params), watch: a.watch, wants: a.wants}
	if !watches || !granted.Has(protocol.ModeSubscribe) {
		o.watch = nil
		delete(o.params, "occupancy")
	}
	if !granted.Has(protocol.ModeSubscribe) {
		o.wants = nil
		delete(o.params, "delta")
		delete(o.params, "appendMode")
	}
	if _, told := o.params["modes"]; told {
		o.params["modes"] = protocol.ModeNames(granted)
	}
	s.attach(s.at(a.hash), o)
}
