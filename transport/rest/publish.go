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
	for i := range in {
		if in[i].ConnectionKey != "" {
			return p, protocol.Errorf(protocol.CodeBadConnectionID, "message %d: connectionKey does not name a connection that can be published for", i)
		}
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

func newIDBase() string {
	var b [9]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
