package rest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/limits"
	"innkeeper/transport/meter"
	"innkeeper/transport/protocol"
	"innkeeper/transport/standing"
)

// Backend is what REST needs of the node. Errors may be *protocol.ErrorInfo, or have a method Refusal() channel.Refusal;
// others are told to the client as an internal error and to the log in full. All methods block until there is an answer
// and end early with ctx.
type Backend interface {
	// Publish puts messages on a channel, all or none, and gives the channelSerial they got.
	Publish(ctx context.Context, app, name string, p channel.Publish) (serial string, err error)
	// Query tells a channel's state without opening it.
	Query(ctx context.Context, app, name string) (channel.QueryResult, error)
	// History gives publishes that a channel keeps, without opening it.
	History(ctx context.Context, app, name string, q channel.History) (channel.HistoryResult, error)
	// Presence gives members of a channel, without opening it.
	Presence(ctx context.Context, app, name string, q channel.PresenceQuery) (channel.PresencePage, error)
	// Lookup gives one message that a channel keeps, its versions or its annotations.
	Lookup(ctx context.Context, app, name string, q channel.Lookup) (channel.HistoryResult, error)
	// List gives up to limit open channels after a position, in order. next is where to go on, nil at the end; a page
	// may be short or empty before the end.
	List(ctx context.Context, app string, after channel.Position, prefix string, limit int) (items []channel.Listed, next *channel.Position, err error)
}

// Config is what a Handler is made of.
type Config struct {
	Backend Backend
	Keys    *auth.Keys
	// Authority issues and revokes tokens; nil serves neither.
	Authority Authority
	// Apps serves POST /apps and DELETE /apps/{id}: anybody may make an app. It needs an Authority.
	Apps bool
	// Gates says what apps may ask for; nil: anything.
	Gates *limits.Gates
	// Standing says how far this node can be trusted to know what the cluster agreed on; nil: it always can.
	Standing func() standing.Standing
	// Stats answers GET /stats; nil does not serve it.
	Stats interface {
		Find(meter.Query) (entries []meter.Entry, more bool, err error)
	}

	// Observe is told of each request of an app when it was served; err is nil when it succeeded. It must not block. May be nil.
	Observe func(r *http.Request, app string, err *protocol.ErrorInfo)

	// Fixtures serves POST /stats, for tests of clients; nil does not.
	Fixtures Fixtures

	ServerID       string // sent as X-Ably-ServerId; "" sends none
	MaxMessageSize int    // bytes of one publish as protocol.Size counts them; 0 is 65536
	MaxBodyBytes   int64  // bytes of a request body; 0 is 524288
	Logger         *slog.Logger
}

// Stats counts since the start.
type Stats struct {
	Requests  uint64 // all but OPTIONS
	Failed    uint64 // answered with status 400 or above
	Published uint64 // messages accepted
}

// Handler serves the REST API.
type Handler struct {
	cfg                         Config
	requests, failed, published atomic.Uint64
	byApp                       requestsByApp
}

// New makes a Handler.
func New(cfg Config) *Handler {
	if cfg.MaxMessageSize == 0 {
		cfg.MaxMessageSize = 65536
	}
	if cfg.MaxBodyBytes == 0 {
		cfg.MaxBodyBytes = 524288
	}
	if cfg.Gates == nil {
		cfg.Gates = limits.NewGates()
	}
	if cfg.Standing == nil {
		cfg.Standing = func() standing.Standing { return standing.InTouch }
	}
	cfg.Apps = cfg.Apps && cfg.Authority != nil
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{cfg: cfg}
}

// Stats gives the counters.
func (h *Handler) Stats() Stats {
	return Stats{Requests: h.requests.Load(), Failed: h.failed.Load(), Published: h.published.Load()}
}

// call is one request on its way.
type call struct {
	*Handler
	w       http.ResponseWriter
	r       *http.Request
	query   url.Values
	format  protocol.Format // of the reply
	version int             // protocol version of the client, 2 when it tells none
	wrapped bool            // the reply goes into an envelope

	app      string // whom the request is counted for, once it is known
	forToken bool
	over     bool // the app has asked for more than it may
}

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	allowOrigin(w, r)
	if r.Method == http.MethodOptions {
		preflight(w)
		return
	}
	h.requests.Add(1)
	c, err := h.newCall(w, r)
	if err == nil && !c.time() {
		err = h.trusted(c.route)
	}
	c.served(err)
	if err != nil {
		c.fail(err)
	}
}

func (h *Handler) newCall(w http.ResponseWriter, r *http.Request) (*call, *protocol.ErrorInfo) {
	query, bad := url.ParseQuery(r.URL.RawQuery)
	c := &call{Handler: h, w: w, r: r, query: query}
	c.format = replyFormat(r.Header.Values("Accept"), query.Get("format"))
	if text := query.Get("envelope"); text != "" {
		if f, ok := protocol.ParseFormat(text); ok {
			c.format, c.wrapped = f, true
		}
	}
	if bad != nil {
		return c, protocol.Errorf(protocol.CodeBadParamValue, "the query cannot be read: %v", bad)
	}
	var err *protocol.ErrorInfo
	c.version, err = clientVersion(r.Header.Get("X-Ably-Version"), query.Get("v"))
	return c, err
}

// trusted has a request judged, if this node knows enough for it. One that has just started knows neither the keys that
// were made at run time nor what was revoked. One that is cut off lets in who was let in before and does for them what
// it can, but tells nobody that a credential is no good: clients give up at that, and another node may know better.
func (h *Handler) trusted(judge func() *protocol.ErrorInfo) *protocol.ErrorInfo {
	if late := h.cfg.Standing().Known(); late != nil {
		return late
	}
	err := judge()
	if err != nil && err.StatusCode == http.StatusUnauthorized {
		if late := h.cfg.Standing().Current(); late != nil {
			return late
		}
	}
	return err
}

// clientVersion reads a protocol version: the number before the first point.
func clientVersion(header, param string) (int, *protocol.ErrorInfo) {
	text := header
	if text == "" {
		text = param
	}
	if text == "" {
		return 2, nil
	}
	whole, _, _ := strings.Cut(text, ".")
	v, err := strconv.Atoi(whole)
	if err != nil || v < 0 {
		return 0, protocol.Errorf(protocol.CodeBadVersion, "%q is no protocol version", text)
	}
	return v, nil
}

// time answers GET /time, which nobody has to be trusted for; false: something else was asked.
func (c *call) time() bool {
	if c.r.URL.EscapedPath() != "/time" || c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return false
	}
	c.reply(http.StatusOK, protocol.AppendTime(nil, c.format, time.Now().UnixMilli()))
	return true
}

// subresources are what may follow a channel's name in a path. Those that are not served are not part of a name either.
var subresources = map[string]bool{"messages": true, "history": true, "presence": true, "objects": true, "object": true}

// route finds what the request is for. A known path with another method is not found either.
func (c *call) route() *protocol.ErrorInfo {
	get := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	path := c.r.URL.EscapedPath()
	switch {
	case path == "/channels" && get:
		return c.list()
	case path == "/presence" && get:
		return c.presenceBatch()
	case path == "/messages" && c.r.Method == http.MethodPost:
		return c.batch()
	case path == "/stats" && get && c.cfg.Stats != nil:
		return c.stats()
	case path == "/stats" && c.r.Method == http.MethodPost && c.cfg.Fixtures != nil:
		return c.addStats()
	case path == "/apps" && c.r.Method == http.MethodPost && c.cfg.Apps:
		return c.createApp()
	}
	if rest, ok := strings.CutPrefix(path, "/keys/"); ok {
		return c.keys(rest)
	}
	if rest, ok := strings.CutPrefix(path, "/apps/"); ok && c.r.Method == http.MethodDelete && c.cfg.Apps {
		return c.deleteApp(rest)
	}
	rest, ok := strings.CutPrefix(path, "/channels/")
	if !ok || rest == "" {
		return c.notFound()
	}
	if name, ok := strings.CutSuffix(rest, "/messages"); ok && c.r.Method == http.MethodPost {
		return c.onChannel(name, c.publish)
	}
	if name, ok := strings.CutSuffix(rest, "/presence/history"); ok && get && !hasSubresource(name) {
		return c.onChannel(name, func(_ string, name protocol.Name) *protocol.ErrorInfo {
			return c.history("history", name, channel.OnlyPresence)
		})
	}
	if name, ok := strings.CutSuffix(rest, "/presence"); ok && get && !hasSubresource(name) {
		return c.onChannel(name, c.presence)
	}
	if name, below, ok := strings.Cut(rest, "/messages/"); ok && name != "" {
		if serve, ok := c.ofMessage(below); ok {
			return c.onChannel(name, serve)
		}
		return c.notFound()
	}
	for _, last := range []string{"messages", "history"} {
		if name, ok := strings.CutSuffix(rest, "/"+last); ok && get && !hasSubresource(name) {
			return c.onChannel(name, func(_ string, name protocol.Name) *protocol.ErrorInfo {
				return c.history(last, name, channel.OnlyMessages)
			})
		}
	}
	if get && !hasSubresource(rest) {
		return c.onChannel(rest, c.details)
	}
	return c.notFound()
}

// hasSubresource says whether a path behind /channels/ goes on behind the channel's name.
func hasSubresource(rest string) bool {
	segments := strings.Split(rest, "/")
	for _, s := range segments[1:] {
		if subresources[s] {
			return true
		}
	}
	return false
}

func (c *call) notFound() *protocol.ErrorInfo {
	return protocol.Errorf(protocol.CodeNotFound, "nothing at %s %.200s", c.r.Method, c.r.URL.EscapedPath())
}

// onChannel runs do for the channel that an escaped name means.
func (c *call) onChannel(escaped string, do func(given string, name protocol.Name) *protocol.ErrorInfo) *protocol.ErrorInfo {
	given, bad := url.PathUnescape(escaped)
	if bad != nil {
		return protocol.Errorf(protocol.CodeBadChannelName, "invalid channel name: %v", bad)
	}
	name, err := protocol.ParseName(given)
	if err != nil {
		return err
	}
	return do(given, name)
}

// Authorize says who sends a request, for handlers that stand beside this one, if allowed says nothing against it.
func (h *Handler) Authorize(r *http.Request, allowed func(auth.Identity) *protocol.ErrorInfo) (id auth.Identity, err *protocol.ErrorInfo) {
	err = h.trusted(func() (err *protocol.ErrorInfo) {
		if id, err = h.identify(r, r.URL.Query()); err == nil {
			err = allowed(id)
		}
		return err
	})
	return id, err
}

func (h *Handler) identify(r *http.Request, query url.Values) (auth.Identity, *protocol.ErrorInfo) {
	credentials, err := auth.FromRequest(r, query)
	if err != nil {
		return auth.Identity{}, err
	}
	return h.cfg.Keys.AuthenticateREST(credentials)
}

// allowed says who sends the request, if op is allowed on the channel.
func (c *call) allowed(op auth.OpSet, resource string) (auth.Identity, *protocol.ErrorInfo) {
	id, err := c.identify(c.r, c.query)
	if err != nil {
		return id, err
	}
	if !id.Capability.Allows(resource, op) {
		return id, auth.Denied(op, resource)
	}
	return id, nil
}

// body reads the request's body, of limit bytes at most.
func (c *call) body(limit int64) ([]byte, *protocol.ErrorInfo) {
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, protocol.Errorf(protocol.CodeBadHeader, "a body with Content-Encoding %q is not supported", enc)
	}
	tooLarge := protocol.Errorf(protocol.CodeTooLarge, "the request body exceeds the limit of %d bytes", limit).WithStatus(http.StatusRequestEntityTooLarge)
	if c.r.ContentLength > limit {
		c.drain()
		return nil, tooLarge
	}
	b, err := io.ReadAll(io.LimitReader(c.r.Body, limit+1))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadBody, "the request body cannot be read: %v", err)
	}
	if int64(len(b)) > limit {
		c.drain()
		return nil, tooLarge
	}
	return b, nil
}

// drainMax is how much of a refused body is read and thrown away, in bytes.
const drainMax = 16 << 20

// drain reads what is left of a body that is refused. Clients that are still sending would meet a reset connection, which
// discards the answer that says why. Those that wait for leave to send get the answer instead.
func (c *call) drain() {
	if c.r.Header.Get("Expect") == "" {
		io.CopyN(io.Discard, c.r.Body, drainMax)
	}
}
