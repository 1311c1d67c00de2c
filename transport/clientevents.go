package transport

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// ClientEvent is the data of an event about a client's connection or request.
type ClientEvent struct {
	Host         string            `json:"host"`
	Transport    string            `json:"transport,omitempty"` // of a connection
	Method       string            `json:"method,omitempty"`    // of a request, as the next two
	Path         string            `json:"path,omitempty"`
	PathPattern  string            `json:"pathPattern,omitempty"`
	RequestID    string            `json:"requestId,omitempty"`
	Site         string            `json:"site"`
	Headers      map[string]string `json:"headers"`
	Query        map[string]string `json:"query"` // without credentials
	ConnectionID string            `json:"connectionId,omitempty"`
	ClientID     string            `json:"clientId,omitempty"`
	Channels     []string          `json:"channels,omitempty"`
	Duration     int64             `json:"duration,omitempty"` // ms
	Credential   *Credential       `json:"credential,omitempty"`
	Error        *EventError       `json:"error,omitempty"`

	app string
}

// Credential says by what key a client came, without its secret.
type Credential struct {
	Type string `json:"type"` // key or token
	Key  string `json:"keyName,omitempty"`
}

// EventError is why a connection or request was refused.
type EventError struct {
	Message    string `json:"message"`
	Code       int    `json:"code"`
	StatusCode int    `json:"statusCode"`
}

// Of a request's headers and query an event tells this much. Requests are as large as clients like, and refused ones are
// told of too.
const (
	eventFields = 40  // headers, and as many params
	eventBytes  = 512 // of one name or value
)

// told is a text of a request as events have it. It does not keep the request's own memory.
func told(text string) string {
	if len(text) <= eventBytes {
		return strings.Clone(text)
	}
	return strings.ToValidUTF8(text[:eventBytes], "") + "…"
}

// tell takes a field in, unless there are too many. Which ones must not be chance: they are given in order.
func tell(fields map[string]string, name, value string) {
	if len(fields) < eventFields {
		fields[told(name)] = told(value)
	}
}

// NewClientEvent describes a request, without what is secret in it.
func NewClientEvent(r *http.Request, site string) *ClientEvent {
	e := &ClientEvent{Host: told(r.Host), Site: site, Headers: map[string]string{}, Query: map[string]string{}, RequestID: told(r.Header.Get("X-Request-Id"))}
	if e.RequestID == "" {
		e.RequestID = told(r.URL.Query().Get("request_id"))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Header)) {
		name := strings.ToLower(key)
		switch name {
		case "authorization", "cookie", "x-ably-errorcode", "sec-websocket-key", "proxy-authorization":
		default:
			tell(e.Headers, name, strings.Join(r.Header[key], ", "))
		}
	}
	query, _ := url.ParseQuery(r.URL.RawQuery) // what cannot be read is left out
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch strings.ToLower(name) {
		case "key", "accesstoken", "access_token", "resume", "recover", "connectionkey":
		default:
			tell(e.Query, name, strings.Join(query[name], ","))
		}
	}
	return e
}

// Refused adds why.
func (e *ClientEvent) Refused(err *protocol.ErrorInfo) *ClientEvent {
	if err != nil {
		e.Error = &EventError{Message: err.Message, Code: err.Code, StatusCode: err.StatusCode}
	}
	return e
}

// By adds who the client is.
func (e *ClientEvent) By(id auth.Identity) *ClientEvent {
	e.ClientID = id.ClientID
	if id.KeyName != "" {
		e.Credential = &Credential{Type: "key", Key: id.KeyName}
	}
	return e
}

// claimedApp is the app of the key that a refused client came with, "" when there is no such key.
func (g *Gateway) claimedApp(r *http.Request) string {
	cred, err := auth.FromRequest(r, r.URL.Query())
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(cred.Key, ":")
	app, id, _ := strings.Cut(name, ".")
	if _, ok := g.cfg.Auth.Lookup(app, id); !ok {
		return ""
	}
	return strings.Clone(app)
}

// eventOf describes a connection's request for those who watch connections; nil when nobody does.
func (c *conn) eventOf(r *http.Request) *ClientEvent {
	app := c.identity.App
	if app == "" {
		app = c.claims
	}
	if app == "" || c.g.announcer.idle(app, MetaClientConnections, MetaConnectionLifecycle) {
		return nil
	}
	e := NewClientEvent(r, c.g.cfg.NodeID)
	e.Transport, e.app = "web_socket", strings.Clone(app)
	return e
}

// announceGreeted tells of a connection that was greeted or refused.
func (c *conn) announceGreeted(e *ClientEvent, refusal *protocol.ErrorInfo) {
	switch {
	case e == nil:
		return
	case refusal != nil:
		c.g.Announce(e.app, MetaClientConnections, "connection.refused", e.Refused(refusal))
		return
	case c.tally == nil:
		return // sent away: it comes back on another node
	}
	e.ConnectionID = c.id
	e.By(c.identity)
	c.met = e
	for _, meta := range []string{MetaClientConnections, MetaConnectionLifecycle} {
		c.g.Announce(e.app, meta, "connection.opened", e)
	}
}

// announceClosed tells of the end of a connection that was greeted.
func (c *conn) announceClosed() {
	if c.tally == nil || c.g.announcer.idle(c.identity.App, MetaClientConnections, MetaConnectionLifecycle) {
		return
	}
	e := ClientEvent{Transport: "web_socket", Site: c.g.cfg.NodeID, Headers: map[string]string{}, Query: map[string]string{}}
	if c.met != nil {
		e = *c.met
	}
	e.ConnectionID, e.Duration = c.id, time.Now().UnixMilli()-c.since
	for _, a := range c.attachments {
		e.Channels = append(e.Channels, a.name)
	}
	e.By(c.identity)
	for _, meta := range []string{MetaClientConnections, MetaConnectionLifecycle} {
		c.g.Announce(c.identity.App, meta, "connection.closed", &e)
	}
}

// AnnounceRequest tells of a REST request that was served; err is nil when it succeeded.
func (g *Gateway) AnnounceRequest(r *http.Request, app string, err *protocol.ErrorInfo) {
	if g.announcer.idle(app, MetaClientRequests) {
		return
	}
	e := NewClientEvent(r, g.cfg.NodeID).Refused(err)
	e.Method, e.Path = told(r.Method), told(r.URL.Path)
	e.PathPattern, e.Channels = pathPattern(e.Path)
	name := "request.succeeded"
	switch {
	case err != nil && err.StatusCode >= 500:
		name = "request.failed"
	case err != nil:
		name = "request.refused"
	}
	g.Announce(app, MetaClientRequests, name, e)
}

// pathPattern is a path with the parts that vary left open, and the channel that it names.
func pathPattern(path string) (pattern string, channels []string) {
	parts := strings.Split(path, "/")
	if len(parts) > 2 {
		switch parts[1] {
		case "channels":
			channels = []string{parts[2]}
			parts[2] = ":channelId"
		case "keys":
			parts[2] = ":keyName"
		case "apps":
			parts[2] = ":appId"
		}
	}
	return strings.Join(parts, "/"), channels
}
