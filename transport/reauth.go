package transport

import (
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

// recheckAttachments holds what the attachments ask for against the new capability: they lose what it does not allow, and
// get what the one before did not.
func (c *conn) recheckAttachments() {
	for i := len(c.attachments) - 1; i >= 0; i-- {
		a := c.attachments[i] // forget moves only those behind it
		name, err := protocol.ParseName(a.name)
		if err != nil || a.hasFailed() {
			continue // it was attached under this name; who was told that the channel failed need not hear it again
		}
		order := c.order(name, a.demand)
		if order.granted == 0 {
			c.failChannel(a, protocol.Errorf(protocol.CodeNoCapability, "the new token allows none of the channel's modes on %q", name.Resource()))
			continue
		}
		a.asked = order.granted
		order.a, order.number = a, a.orders
		c.g.shardOf(a.hash).in.push(command{kind: doInspect, what: func(s *shard) { s.regrant(order) }})
	}
}

// regrant gives an attachment other modes, and occupancy events where they are allowed or not any more. The client hears
// of it by an ATTACHED that says that nothing was missed. An ATTACH that is not answered yet goes on from where it began.
func (s *shard) regrant(o *attachOrder) {
	a := o.a
	if a.ch == nil || o.granted == a.granted && (o.watch == nil) == (a.watch == nil) {
		return
	}
	o.serial, o.rewind = a.serial, a.rewind
	s.attach(s.at(a.hash), o)
}
