package rest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// ofMessage serves what stands below a message: /channels/{c}/messages/{serial}, …/versions and …/annotations. rest is what
// follows /messages/.
func (c *call) ofMessage(rest string) (serve func(given string, name protocol.Name) *protocol.ErrorInfo, ok bool) {
	escaped, last, below := strings.Cut(rest, "/")
	serial, bad := url.PathUnescape(escaped)
	if bad != nil || serial == "" {
		return nil, false
	}
	get := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	post := c.r.Method == http.MethodPost
	switch {
	case !below && get:
		return func(_ string, name protocol.Name) *protocol.ErrorInfo { return c.message(serial, name) }, true
	case !below && c.r.Method == http.MethodPatch:
		return func(_ string, name protocol.Name) *protocol.ErrorInfo { return c.change(serial, name) }, true
	case last == "versions" && get:
		return func(_ string, name protocol.Name) *protocol.ErrorInfo { return c.versions(serial, name) }, true
	case last == "annotations" && get:
		return func(_ string, name protocol.Name) *protocol.ErrorInfo { return c.annotations(serial, name) }, true
	case last == "annotations" && post:
		return func(_ string, name protocol.Name) *protocol.ErrorInfo { return c.annotate(serial, name) }, true
	}
	return nil, false
}

// lookup asks for a message. op is what the capability has to allow.
func (c *call) lookup(name protocol.Name, q channel.Lookup, ops ...auth.OpSet) (channel.HistoryResult, *protocol.ErrorInfo) {
	id, err := c.identify(c.r, c.query)
	if err != nil {
		return channel.HistoryResult{}, err
	}
	allowed := false
	for _, op := range ops {
		allowed = allowed || id.Capability.Allows(name.Resource(), op)
	}
	if !allowed {
		return channel.HistoryResult{}, auth.Denied(ops[0], name.Resource())
	}
	result, failure := c.cfg.Backend.Lookup(c.r.Context(), id.App, name.Channel(), q)
	if failure != nil {
		return result, c.backendError("look a message up", failure)
	}
	return result, protocol.Refused(result.Refusal)
}

// message serves GET /channels/{c}/messages/{serial}.
func (c *call) message(serial string, name protocol.Name) *protocol.ErrorInfo {
	r, err := c.lookup(name, channel.Lookup{What: channel.LookupMessage, Serial: serial}, auth.History)
	switch {
	case err != nil:
		return err
	case len(r.Deliveries) == 0:
		return protocol.Refused(channel.NotFound)
	}
	c.reply(http.StatusOK, protocol.AppendOne(nil, c.format, protocol.Past{Of: r.Deliveries[0]}))
	return nil
}

// versions serves GET /channels/{c}/messages/{serial}/versions.
func (c *call) versions(serial string, name protocol.Name) *protocol.ErrorInfo {
	r, err := c.listOf("versions", name, channel.Lookup{What: channel.LookupVersions, Serial: serial}, auth.History)
	if err != nil {
		return err
	}
	items := make([]protocol.Past, len(r.Deliveries))
	for i, d := range r.Deliveries {
		items[i] = protocol.Past{Of: d}
	}
	c.reply(http.StatusOK, protocol.AppendHistory(nil, c.format, items))
	return nil
}

// annotations serves GET /channels/{c}/messages/{serial}/annotations.
func (c *call) annotations(serial string, name protocol.Name) *protocol.ErrorInfo {
	q := channel.Lookup{What: channel.LookupAnnotations, Serial: serial}
	r, err := c.listOf("annotations", name, q, auth.AnnotationSubscribe, auth.History)
	if err != nil {
		return err
	}
	c.reply(http.StatusOK, protocol.AppendAnnotationList(nil, c.format, r.Deliveries))
	return nil
}

// listOf asks for a page of what belongs to a message, the oldest first, and sets the links.
func (c *call) listOf(last string, name protocol.Name, q channel.Lookup, ops ...auth.OpSet) (r channel.HistoryResult, err *protocol.ErrorInfo) {
	if q.Limit, err = c.number("limit", limitDefault, 1, limitMax); err != nil {
		return r, err
	}
	if q.After, err = c.number("after", 0, 0, 1<<31-1); err != nil {
		return r, err
	}
	if d := c.query.Get("direction"); d != "" && d != "forwards" {
		return r, protocol.Errorf(protocol.CodeBadParamValue, `%s are listed with direction "forwards" only, this is %.40q`, last, d)
	}
	if r, err = c.lookup(name, q, ops...); err != nil {
		return r, err
	}
	link := func(rel string, after int) {
		v := url.Values{"limit": {strconv.Itoa(q.Limit)}}
		if after > 0 {
			v.Set("after", strconv.Itoa(after))
		}
		c.link(rel, last, v)
	}
	link("first", 0)
	link("current", q.After)
	if r.More {
		link("next", q.After+len(r.Deliveries))
	}
	return r, nil
}

// change serves PATCH /channels/{c}/messages/{serial}: the body is a message with the action update, delete or append.
func (c *call) change(serial string, name protocol.Name) *protocol.ErrorInfo {
	id, body, format, err := c.toPublish(name)
	if err != nil {
		return err
	}
	in, _, err := protocol.DecodeMessages(format, body)
	if err != nil {
		return err
	}
	switch {
	case len(in) != 1:
		return protocol.Errorf(protocol.CodeBadBody, "the body has to be one message")
	case in[0].Err == nil && !protocol.Changes(in):
		return protocol.Errorf(protocol.CodeBadParamValue, "a message is changed with the action 1 (update), 2 (delete) or 5 (append), this is %d", in[0].Action)
	case in[0].Serial == "":
		in[0].Serial = serial
	case in[0].Serial != serial:
		return protocol.Errorf(protocol.CodeBadParamValue, "the serial %.100q is not that of the path", in[0].Serial)
	}
	p := channel.Publish{ID: newIDBase()}
	p.Messages, _, err = protocol.Canonical(in, protocol.CanonicalOptions{MaxSize: c.maxSize(id.App), BareJSON: true})
	if err != nil {
		return c.measured(id.App, err)
	}
	if err := id.MayPrivilege(p.Messages, name.Resource()); err != nil {
		return err
	}
	id.Vouch(p.Messages, name.Base)
	at, err := c.publishChange(id, name, p)
	if err != nil {
		return err
	}
	c.reply(http.StatusOK, protocol.AppendVersionSerial(nil, c.format, at))
	return nil
}

// publishChange publishes one change of a message and gives the channelSerial it got.
func (c *call) publishChange(id auth.Identity, name protocol.Name, p channel.Publish) (serial string, err *protocol.ErrorInfo) {
	if p.OwnOnly, err = id.Change(&p.Messages[0], name.Resource()); err != nil {
		return "", err
	}
	p.MaxBytes = c.maxSize(id.App)
	return c.put(id, name, p)
}

// put publishes what passed all checks.
func (c *call) put(id auth.Identity, name protocol.Name, p channel.Publish) (serial string, err *protocol.ErrorInfo) {
	if c.query.Get("_forceNack") == "true" {
		return "", protocol.NewError(protocol.CodeForcedNack)
	}
	p.App, p.Name = id.App, name.Channel()
	serial, failure := c.cfg.Backend.Publish(c.r.Context(), p.App, p.Name, p)
	if failure != nil {
		return "", c.backendError("publish", failure)
	}
	c.published.Add(uint64(len(p.Messages)))
	return serial, nil
}

// annotate serves POST /channels/{c}/messages/{serial}/annotations: the body is an array of annotations.
func (c *call) annotate(serial string, name protocol.Name) *protocol.ErrorInfo {
	id, body, format, err := c.toPublish(name)
	if err != nil {
		return err
	}
	if !id.Capability.Allows(name.Resource(), auth.AnnotationPublish) {
		return auth.Denied(auth.AnnotationPublish, name.Resource())
	}
	in, tooMany, err := protocol.DecodeAnnotations(format, body, serial)
	if err != nil {
		return err
	}
	if tooMany {
		return protocol.Errorf(protocol.CodeTooManyMessages, "too many annotations in one publish: the limit is %d", protocol.MaxMessages)
	}
	var p channel.Publish
	p.Messages, p.ID, err = protocol.CanonicalAnnotations(in, protocol.CanonicalOptions{MaxSize: c.maxSize(id.App)})
	if err != nil {
		return c.measured(id.App, err)
	}
	if err := id.ClaimAnnotations(p.Messages); err != nil {
		return err
	}
	if err := id.MayPrivilege(p.Messages, name.Resource()); err != nil {
		return err
	}
	id.Vouch(p.Messages, name.Base)
	if p.ID == "" {
		p.ID = newIDBase()
	}
	at, err := c.put(id, name, p)
	if err != nil {
		return err
	}
	c.reply(http.StatusCreated, protocol.AppendPublished(nil, c.format, name.Base, p.ID, at, len(p.Messages)))
	return nil
}

// toPublish reads who sends something to be published, and the body.
func (c *call) toPublish(name protocol.Name) (id auth.Identity, body []byte, format protocol.Format, err *protocol.ErrorInfo) {
	if id, err = c.identify(c.r, c.query); err != nil {
		return
	}
	if name.Qualifier != "" {
		err = protocol.Errorf(protocol.CodeNoCapability, "operation not permitted: nothing can be published on [%s]", name.Qualifier)
		return
	}
	if body, err = c.body(c.cfg.MaxBodyBytes); err != nil {
		return
	}
	format, err = bodyFormat(c.r.Header.Get("Content-Type"), body)
	return
}
