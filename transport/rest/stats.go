package rest

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"innkeeper/transport/auth"
	"innkeeper/transport/limits"
	"innkeeper/transport/meter"
	"innkeeper/transport/protocol"
)

// Requests counts the requests for one app since the start. Those whose sender is not known are nobody's.
type Requests struct {
	Tokens, TokensFailed, TokensRefused uint64 // POST …/requestToken
	Others, OthersFailed, OthersRefused uint64
}

// requestCounters are by kind (others, tokens) and end (succeeded, failed, refused because of a limit).
type requestCounters [2][3]atomic.Uint64

// Requests reads the counters of all apps.
func (h *Handler) Requests() map[string]Requests {
	apps := map[string]Requests{}
	h.byApp.Range(func(app, v any) bool {
		n := v.(*requestCounters)
		o, t := &n[0], &n[1]
		apps[app.(string)] = Requests{t[0].Load(), t[1].Load(), t[2].Load(), o[0].Load(), o[1].Load(), o[2].Load()}
		return true
	})
	return apps
}

// requestsByApp is app → *requestCounters.
type requestsByApp = sync.Map

// identify says who sends the request, and so for whom it is counted.
func (c *call) identify(r *http.Request, query url.Values) (auth.Identity, *protocol.ErrorInfo) {
	id, err := c.Handler.identify(r, query)
	if err == nil && c.app == "" {
		c.app = id.App
		err = c.spend()
	}
	return id, err
}

// countToken counts the request as one for a token. Keys that do not exist have nobody to count for.
func (c *call) countToken(keyName string) *protocol.ErrorInfo {
	c.forToken = true
	app, id, _ := strings.Cut(keyName, ".")
	if _, ok := c.cfg.Keys.Lookup(app, id); ok {
		c.app = app
		return c.spend()
	}
	return nil
}

// spend takes the request off what its app and account may ask for per second.
func (c *call) spend() *protocol.ErrorInfo {
	r := c.cfg.Gates.Of(c.app).Spend(limits.APIRequestRate, 1)
	if r == nil {
		return nil
	}
	c.over = true
	return r.Info()
}

// served counts a request that has its answer.
func (c *call) served(err *protocol.ErrorInfo) {
	if c.app == "" {
		return
	}
	v, ok := c.byApp.Load(c.app)
	if !ok {
		v, _ = c.byApp.LoadOrStore(c.app, new(requestCounters))
	}
	n := v.(*requestCounters)
	kind, end := 0, 0
	if c.forToken {
		kind = 1
	}
	if c.over {
		end = 2
	} else if err != nil {
		end = 1
	}
	n[kind][end].Add(1)
	if c.cfg.Observe != nil {
		c.cfg.Observe(c.r, c.app, err)
	}
}

// stats serves GET /stats: what the app had open and did, per minute or a longer unit.
func (c *call) stats() *protocol.ErrorInfo {
	id, err := c.identify(c.r, c.query)
	if err != nil {
		return err
	}
	if !id.Capability.AllowsEverywhere(auth.Stats) {
		return auth.Denied(auth.Stats, "*")
	}
	if late := c.cfg.Standing().Current(); late != nil {
		return late
	}
	q, err := c.readStatsQuery()
	if err != nil {
		return err
	}
	q.Series = meter.AppSeries(id.App)
	entries, more, failure := c.cfg.Stats.Find(q)
	if failure != nil {
		return c.backendError("read stats", failure)
	}
	asked := statsLink(q)
	c.link("first", "stats", asked)
	c.link("current", "stats", asked)
	if more {
		// The next page begins behind the last entry of this one.
		last := entries[len(entries)-1]
		if q.Forwards {
			q.FromMs = q.Unit.End(last.StartMs)
		} else {
			q.ToMs = last.StartMs - 1
		}
		c.link("next", "stats", statsLink(q))
	}
	if c.version < 3 {
		list := make([]meter.Nested, len(entries))
		for i := range entries {
			list[i] = entries[i].Nested()
		}
		return c.replyDocument(http.StatusOK, list)
	}
	list := make([]meter.Flat, len(entries))
	for i := range entries {
		list[i] = entries[i].Flat(id.App)
	}
	return c.replyDocument(http.StatusOK, list)
}

func (c *call) readStatsQuery() (q meter.Query, err *protocol.ErrorInfo) {
	q = meter.Query{Limit: limitDefault, ToMs: time.Now().UnixMilli()}
	if bad := q.Read(c.query); bad != nil {
		return q, protocol.Errorf(protocol.CodeBadParamValue, "%v", bad)
	}
	return q, nil
}

// statsLink is a question as links carry it: whole, and with bounds that stay as they are while time goes on.
func statsLink(q meter.Query) url.Values {
	v := url.Values{
		"unit": {q.Unit.String()}, "limit": {strconv.Itoa(q.Limit)}, "direction": {"backwards"},
		"start": {strconv.FormatInt(q.FromMs, 10)}, "end": {strconv.FormatInt(q.ToMs, 10)},
	}
	if q.Forwards {
		v.Set("direction", "forwards")
	}
	return v
}

// Fixtures keeps made up intervals of a minute in place of what was measured, on this node when it returns. Errors are as
// those of a Backend.
type Fixtures interface {
	AddStats(ctx context.Context, app string, minutes []meter.Entry) error
}

// addStats serves POST /stats: intervals that the test of a client wants to read back.
func (c *call) addStats() *protocol.ErrorInfo {
	id, err := c.identify(c.r, c.query)
	switch {
	case err != nil:
		return err
	case id.Token != nil:
		return protocol.Errorf(protocol.CodeBasicOnly, "stats are made up with an API key, not with a token")
	case !id.Capability.AllowsEverywhere(auth.Stats):
		return auth.Denied(auth.Stats, "*")
	}
	text, err := c.document()
	if err != nil {
		return err
	}
	minutes, bad := meter.ParseFixtures(text)
	if bad != nil {
		return protocol.Errorf(protocol.CodeBadBody, "%v", bad)
	}
	if failure := c.cfg.Fixtures.AddStats(c.r.Context(), id.App, minutes); failure != nil {
		return c.backendError("keep stats", failure)
	}
	return c.replyDocument(http.StatusCreated, []struct{}{})
}
