package rest

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// publish serves POST /channels/{c}/messages.
func (c *call) publish(given string, name protocol.Name) *protocol.ErrorInfo {
	id, err := c.identify(c.r, c.query)
	if err != nil {
		return err
	}
	// Nobody's body is read who may do nothing with it.
	if !id.Capability.Allows(name.Resource(), auth.Publish) && !mayChange(id, name) {
		return auth.Denied(auth.Publish, name.Resource())
	}
	id, body, format, err := c.toPublish(name)
	if err != nil {
		return err
	}
	in, tooMany, err := protocol.DecodeMessages(format, body)
	if err != nil {
		return err
	}
	p, err := c.readPublish(id, name, in, tooMany)
	if err != nil {
		return err
	}
	serial, err := c.put(id, name, p)
	if err != nil {
		return err
	}
	c.reply(http.StatusCreated, protocol.AppendPublished(nil, c.format, given, p.ID, serial, len(p.Messages)))
	return nil
}

func mayChange(id auth.Identity, name protocol.Name) bool {
	for _, op := range []auth.OpSet{auth.MessageUpdateOwn, auth.MessageUpdateAny, auth.MessageDeleteOwn, auth.MessageDeleteAny} {
		if id.Capability.Allows(name.Resource(), op) {
			return true
		}
	}
	return false
}

// readPublish makes a publish of messages that were read, for one channel. Messages without ids get a random base, so that
// each has one.
func (c *call) readPublish(id auth.Identity, name protocol.Name, in []protocol.Message, tooMany bool) (p channel.Publish, err *protocol.ErrorInfo) {
	if tooMany {
		return p, protocol.Errorf(protocol.CodeTooManyMessages, "too many messages in one publish: the limit is %d", protocol.MaxMessages)
	}
	p.MsgSerial = channel.NoSerial
	if id, p.ConnID, err = c.onBehalf(id, in); err != nil {
		return p, err
	}
	p.Messages, p.ID, err = protocol.Canonical(in, protocol.CanonicalOptions{MaxSize: c.maxSize(id.App), BareJSON: true})
	if err != nil {
		return p, c.measured(id.App, err)
	}
	if p.ID == "" {
		p.ID = newIDBase()
	}
	if err = id.MayPrivilege(p.Messages, name.Resource()); err != nil {
		return p, err
	}
	id.Vouch(p.Messages, name.Base)
	if protocol.Changes(in) {
		p.MaxBytes = c.maxSize(id.App)
		p.OwnOnly, err = id.Change(&p.Messages[0], name.Resource())
		return p, err
	}
	if !id.Capability.Allows(name.Resource(), auth.Publish) {
		return p, auth.Denied(auth.Publish, name.Resource())
	}
	if p.Ephemeral, err = protocol.Ephemeral(p.Messages); err != nil {
		return p, err
	}
	p.Ephemeral = p.Ephemeral || c.query.Get("ephemeral") == "true"
	return p, id.Claim(p.Messages)
}

// maxSize is how many bytes one publish of an app may have, as protocol.Size counts them.
func (c *call) maxSize(app string) int {
	return c.cfg.Gates.Of(app).MaxMessageSize(c.cfg.MaxMessageSize)
}

// measured counts a publish that was larger than that, and is the error as it came.
func (c *call) measured(app string, err *protocol.ErrorInfo) *protocol.ErrorInfo {
	if err.Code == protocol.CodeTooLarge {
		c.cfg.Gates.Of(app).TooLarge(c.cfg.MaxMessageSize)
	}
	return err
}

// onBehalf is the connection that a publish is for, "" where it is for none, and who publishes then: the client of that
// connection. All messages name the same one, or none does; a connectionId beside the key is its.
func (c *call) onBehalf(id auth.Identity, in []protocol.Message) (auth.Identity, string, *protocol.ErrorInfo) {
	key := ""
	for i := range in {
		if i > 0 && in[i].ConnectionKey != key {
			return id, "", protocol.Errorf(protocol.CodeBadConnectionID, "message %d: all messages of a publish have to be for one connectionKey", i)
		}
		key = in[i].ConnectionKey
	}
	if key == "" {
		return id, "", nil
	}
	of, err := c.cfg.Keys.ReadConnectionKeyOf(id.App, key)
	if err != nil {
		return id, "", err
	}
	for i := range in {
		if in[i].ConnectionID != "" && in[i].ConnectionID != of.ID {
			return id, "", protocol.Errorf(protocol.CodeBadConnectionID, "message %d: connectionId %.60q is not that of the connection of connectionKey; leave it out", i, in[i].ConnectionID)
		}
	}
	switch {
	case id.ClientID == auth.Wildcard:
		id.ClientID = of.ClientID
	case of.ClientID != auth.Wildcard && of.ClientID != id.ClientID:
		return id, "", protocol.Errorf(protocol.CodeBadClientID, "the connection of connectionKey is another client's")
	}
	return id, of.ID, nil
}

func newIDBase() string {
	var b [9]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
