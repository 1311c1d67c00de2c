package rest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/opaque"
	"innkeeper/transport/protocol"
)

// The bounds of one question for members.
const (
	// batchMax is how many channels it may name.
	batchMax = 100
	// membersBytes is how much its members may have together, as protocol.MembersSize counts them. The answer is up to six
	// times as large, and is made in memory.
	membersBytes = 8 << 20
)

// mayLook refuses who may neither subscribe to a channel nor be present on it.
func mayLook(id *auth.Identity, resource string) *protocol.ErrorInfo {
	if ops := id.Capability.Ops(resource); !ops.Has(auth.Subscribe) && !ops.Has(auth.Presence) {
		return auth.Denied(auth.Subscribe, resource)
	}
	return nil
}

// roster is a page of a channel's members, as its links carry it.
type roster struct {
	limit            int
	clientID, connID string
	after            [2]string // connection and client of the last member before
}

// presence serves GET /channels/{c}/presence.
func (c *call) presence(_ string, name protocol.Name) *protocol.ErrorInfo {
	id, err := c.identify(c.r, c.query)
	if err != nil {
		return err
	}
	if err := mayLook(&id, name.Resource()); err != nil {
		return err
	}
	p := roster{clientID: c.query.Get("clientId"), connID: c.query.Get("connectionId")}
	if p.limit, err = c.number("limit", limitDefault, 1, limitMax); err != nil {
		return err
	}
	if p.after, err = parseMember(c.query.Get("cursor")); err != nil {
		return err
	}
	room := membersBytes
	members, more, err := c.members(c.r.Context(), id.App, name.Channel(), p, &room)
	if err != nil {
		return err
	}
	first := p
	first.after = [2]string{}
	c.rosterLink("first", first)
	c.rosterLink("current", p)
	if more {
		last := &members[len(members)-1]
		p.after = [2]string{last.ConnID, last.ClientID}
		c.rosterLink("next", p)
	}
	c.reply(http.StatusOK, protocol.AppendMembers(nil, c.format, members))
	return nil
}

// members gathers one page. Owners may answer with less than was asked for. room is how many bytes the members may still
// have; they are taken off it.
func (c *call) members(ctx context.Context, app, name string, p roster, room *int) (members []channel.Member, more bool, err *protocol.ErrorInfo) {
	for more = true; more && len(members) < p.limit; {
		page, failure := c.cfg.Backend.Presence(ctx, app, name, channel.PresenceQuery{
			AfterConn: p.after[0], After: p.after[1], Limit: p.limit - len(members), ClientID: p.clientID, ConnID: p.connID,
		})
		if failure != nil {
			return nil, false, c.backendError("presence", failure)
		}
		if err := protocol.Refused(page.Refusal); err != nil {
			return nil, false, err
		}
		if *room -= protocol.MembersSize(page.Members); *room < 0 {
			return nil, false, protocol.Errorf(protocol.CodeTooLarge,
				"the members asked for have more than %d bytes; ask for fewer channels, or page by page with limit at /channels/{channel}/presence", membersBytes)
		}
		members = append(members, page.Members...)
		if more = page.More; more {
			last := &members[len(members)-1]
			p.after = [2]string{last.ConnID, last.ClientID}
		}
	}
	return members, more, nil
}

// rosterLink adds the link to a page of members.
func (c *call) rosterLink(rel string, p roster) {
	q := url.Values{"limit": {strconv.Itoa(p.limit)}}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	set("clientId", p.clientID)
	set("connectionId", p.connID)
	if p.after[0] != "" {
		set("cursor", opaque.Text([]byte(p.after[0]+"\x00"+p.after[1])))
	}
	c.link(rel, "presence", q)
}

func parseMember(text string) (after [2]string, err *protocol.ErrorInfo) {
	if text == "" {
		return after, nil
	}
	b, read := opaque.Bytes(text)
	conn, client, ok := strings.Cut(string(b), "\x00")
	if !read || !ok || conn == "" {
		return after, protocol.Errorf(protocol.CodeBadParamValue, "cursor %.100q is not one this server gave", text)
	}
	return [2]string{conn, client}, nil
}

// presenceBatch serves GET /presence?channels=a,b: the members of several channels at once. Clients of version 2 expect
// an error when one of them fails.
func (c *call) presenceBatch() *protocol.ErrorInfo {
	id, err := c.identify(c.r, c.query)
	if err != nil {
		return err
	}
	separator := c.query.Get("separator")
	if separator == "" {
		separator = ","
	}
	text := c.query.Get("channels")
	if text == "" {
		return protocol.Errorf(protocol.CodeBadParamValue, "channels has to name the channels, joined by %q", separator)
	}
	names := distinct(strings.Split(text, separator))
	if len(names) > batchMax {
		return protocol.Errorf(protocol.CodeTooManyChannels, "%d channels in one request exceed the limit of %d", len(names), batchMax)
	}
	results := make([]protocol.PresenceOf, len(names))
	failed, room := false, membersBytes
	for i, given := range names {
		results[i] = c.presenceOf(&id, given, &room)
		failed = failed || results[i].Err != nil
	}
	switch {
	case c.version >= 3:
		c.reply(http.StatusOK, protocol.AppendPresenceBatch(nil, c.format, results))
	case failed:
		err := protocol.NewError(protocol.CodeBatch)
		c.failWith(err, func(f protocol.Format) []byte { return protocol.AppendPresenceBatchFailed(nil, f, err, results) })
	default:
		c.reply(http.StatusOK, protocol.AppendPresenceList(nil, c.format, results))
	}
	return nil
}

// distinct is names without those that came before.
func distinct(names []string) []string {
	seen := make(map[string]bool, min(len(names), batchMax))
	return slices.DeleteFunc(names, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}

// presenceOf is one channel's part of a batch: all of its members, if there is still room for them.
func (c *call) presenceOf(id *auth.Identity, given string, room *int) (r protocol.PresenceOf) {
	r.Channel = given
	name, err := protocol.ParseName(given)
	if err == nil {
		err = mayLook(id, name.Resource())
	}
	if err == nil {
		const all = 1 << 20
		r.Members, _, err = c.members(c.r.Context(), id.App, name.Channel(), roster{limit: all}, room)
	}
	r.Err = err
	return r
}
