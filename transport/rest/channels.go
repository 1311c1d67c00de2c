package rest

import (
	"net/http"
	"net/url"
	"strconv"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

const (
	limitDefault = 100
	limitMax     = 1000
)

// details serves GET /channels/{c}.
func (c *call) details(given string, name protocol.Name) *protocol.ErrorInfo {
	id, err := c.allowed(auth.ChannelMetadata, name.Resource())
	if err != nil {
		return err
	}
	result, failure := c.cfg.Backend.Query(c.r.Context(), id.App, name.Channel())
	if failure != nil {
		return c.backendError("query", failure)
	}
	if err := protocol.Refused(result.Refusal); err != nil {
		return err
	}
	c.reply(http.StatusOK, protocol.AppendChannelDetails(nil, c.format, given, result.Active, &result.Counts))
	return nil
}

// page is the state of an enumeration, as its links carry it.
type page struct {
	limit  int
	by     string // id or value
	prefix string
	after  channel.Position
}

// list serves GET /channels.
func (c *call) list() *protocol.ErrorInfo {
	id, err := c.identify(c.r, c.query)
	if err != nil {
		return err
	}
	if !id.Capability.AllowsEverywhere(auth.ChannelMetadata) {
		return auth.Denied(auth.ChannelMetadata, "*")
	}
	p, err := c.readPage(id.App)
	if err != nil {
		return err
	}
	items, next, failure := c.cfg.Backend.List(c.r.Context(), id.App, p.after, p.prefix, p.limit)
	if failure != nil {
		return c.backendError("list", failure)
	}
	c.pageLink("first", p, channel.Position{})
	c.pageLink("current", p, p.after)
	if next != nil {
		c.pageLink("next", p, *next)
	}
	if p.by == "id" {
		c.reply(http.StatusOK, protocol.AppendChannelNames(nil, c.format, items))
	} else {
		c.reply(http.StatusOK, protocol.AppendChannels(nil, c.format, items))
	}
	return nil
}

func (c *call) readPage(app string) (p page, err *protocol.ErrorInfo) {
	p = page{limit: limitDefault, by: c.query.Get("by"), prefix: c.query.Get("prefix")}
	if text := c.query.Get("limit"); text != "" {
		n, bad := strconv.Atoi(text)
		if bad != nil || n < 1 || n > limitMax {
			return p, protocol.Errorf(protocol.CodeBadParamValue, "limit has to be a number from 1 to %d, this is %q", limitMax, text)
		}
		p.limit = n
	}
	switch p.by {
	case "id", "value":
	case "":
		p.by = "id"
		if c.version < 3 {
			p.by = "value"
		}
	default:
		return p, protocol.Errorf(protocol.CodeBadParamValue, `by has to be "id" or "value", this is %q`, p.by)
	}
	if text := c.query.Get("cursor"); text != "" {
		p.after, err = parseCursor(text, app)
	}
	return p, err
}

// pageLink adds the link to the part of an enumeration behind a position.
func (c *call) pageLink(rel string, p page, after channel.Position) {
	q := url.Values{"limit": {strconv.Itoa(p.limit)}, "by": {p.by}}
	if p.prefix != "" {
		q.Set("prefix", p.prefix)
	}
	if after != (channel.Position{}) {
		q.Set("cursor", formatCursor(after))
	}
	c.link(rel, "channels", q)
}
