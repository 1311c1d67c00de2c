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
	id, err := c.allowed(auth.Publish, name.Resource())
	if err != nil {
		return err
	}
	if name.Qualifier != "" {
		return protocol.Errorf(protocol.CodeNoCapability, "operation not permitted: nothing can be published on [%s]", name.Qualifier)
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	p, err := c.readPublish(id, body)
	if err != nil {
		return err
	}
	if c.query.Get("_forceNack") == "true" {
		return protocol.NewError(protocol.CodeForcedNack)
	}
	p.App, p.Name = id.App, name.Channel()
	serial, failure := c.cfg.Backend.Publish(c.r.Context(), p.App, p.Name, p)
	if failure != nil {
		return c.backendError("publish", failure)
	}
	c.published.Add(uint64(len(p.Messages)))
	c.reply(http.StatusCreated, protocol.AppendPublished(nil, c.format, given, p.ID, serial, len(p.Messages)))
	return nil
}

// readPublish makes a publish of a body. Messages without ids get a random base, so that each has one.
func (c *call) readPublish(id auth.Identity, body []byte) (p channel.Publish, err *protocol.ErrorInfo) {
	format, err := bodyFormat(c.r.Header.Get("Content-Type"), body)
	if err != nil {
		return p, err
	}
	in, tooMany, err := protocol.DecodeMessages(format, body)
	if err != nil {
		return p, err
	}
	if tooMany {
		return p, protocol.Errorf(protocol.CodeTooManyMessages, "too many messages in one publish: the limit is %d", protocol.MaxMessages)
	}
	if id, p.ConnID, err = c.onBehalf(id, in); err != nil {
		return p, err
	}
	p.Messages, p.ID, err = protocol.Canonical(in, protocol.CanonicalOptions{MaxSize: c.cfg.MaxMessageSize, BareJSON: true})
	if err != nil {
		return p, err
	}
	if p.ID == "" {
		p.ID = newIDBase()
	}
	return p, id.Claim(p.Messages)
}

// onBehalf is the connection that a publish is for, "" where it is for none, and who publishes then: the client of that
// connection. All messages name the same one, or none does.
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
	switch {
	case err != nil:
		return id, "", err
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
