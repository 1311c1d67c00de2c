package rest

import (
	"net/url"
	"strconv"
	"strings"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// past is a page of a channel's history, as its links carry it.
type past struct {
	start, end int64 // unix ms; 0 for no bound
	limit      int
	forwards   bool
	until      string // serial: nothing newer

	// Where the page begins: behind a position (forwards) or at one (backwards), without so many messages of the first
	// publish there.
	cursor string
	skip   int
}

// history serves GET /channels/{c}/messages, /history and /presence/history; last is the last segment.
func (c *call) history(last string, name protocol.Name, of channel.Of) *protocol.ErrorInfo {
	id, err := c.allowed(auth.History, name.Resource())
	if err != nil {
		return err
	}
	p, err := c.readPast()
	if err != nil {
		return err
	}
	q := channel.History{StartMs: p.start, EndMs: p.end, Until: p.until, Limit: p.limit + p.skip, Backwards: !p.forwards, Of: of}
	if p.cursor != "" && p.forwards {
		q.After = p.cursor
	} else if p.cursor != "" {
		q.Until = p.cursor
	}
	result, failure := c.cfg.Backend.History(c.r.Context(), id.App, name.Channel(), q)
	if failure != nil {
		return c.backendError("history", failure)
	}
	if err := protocol.Refused(result.Refusal); err != nil {
		return err
	}
	items, next := p.cut(&result)
	first := p
	first.cursor, first.skip = "", 0
	c.pastLink("first", last, first)
	c.pastLink("current", last, p)
	if next != nil {
		c.pastLink("next", last, *next)
	}
	c.reply(200, protocol.AppendHistory(nil, c.format, items))
	return nil
}

// cut takes the page's messages out of whole publishes; next is nil when nothing follows.
func (p past) cut(r *channel.HistoryResult) (items []protocol.Past, next *past) {
	list := r.Deliveries
	for n, d := range list {
		skip := 0
		if n == 0 {
			skip = min(p.skip, size(d))
		}
		for i := skip; i < size(d); i++ {
			if len(items) == p.limit {
				if i == 0 { // the page ended with the publish before
					return items, p.behind(list[n-1])
				}
				next := p
				next.cursor, next.skip = d.Serial, i
				if p.forwards {
					next.cursor = d.Prev
				}
				return items, &next
			}
			index := i
			if !p.forwards {
				index = size(d) - 1 - i
			}
			items = append(items, protocol.Past{Of: d, Index: index})
		}
	}
	if r.More && len(list) > 0 {
		return items, p.behind(list[len(list)-1])
	}
	return items, nil
}

// size is of how many items a publish is.
func size(d *channel.Delivery) int { return len(d.Messages) + len(d.Presence) }

// behind is the page that follows a publish.
func (p past) behind(d *channel.Delivery) *past {
	p.cursor, p.skip = d.Serial, 0
	if !p.forwards {
		p.cursor = d.Prev
	}
	return &p
}

func (c *call) readPast() (p past, err *protocol.ErrorInfo) {
	p.limit = limitDefault
	if p.limit, err = c.number("limit", limitDefault, 1, limitMax); err != nil {
		return p, err
	}
	const latest = 1 << 53
	for key, into := range map[string]*int64{"start": &p.start, "end": &p.end} {
		n, err := c.number(key, 0, 0, latest)
		if err != nil {
			return p, err
		}
		*into = int64(n)
	}
	if p.end > 0 && p.start > p.end {
		return p, protocol.Errorf(protocol.CodeBadParamValue, "start is later than end")
	}
	switch direction := c.query.Get("direction"); direction {
	case "", "backwards":
	case "forwards":
		p.forwards = true
	default:
		return p, protocol.Errorf(protocol.CodeBadParamValue, `direction has to be "backwards" or "forwards", this is %.40q`, direction)
	}
	if p.until = c.query.Get("from_serial"); p.until == "" {
		p.until = c.query.Get("fromSerial")
	}
	if text := c.query.Get("cursor"); text != "" {
		position, skip, ok := strings.Cut(text, ":")
		n, bad := strconv.Atoi(skip)
		if !ok || position == "" || bad != nil || n < 0 || n > limitMax {
			return p, protocol.Errorf(protocol.CodeBadParamValue, "cursor %.100q is not one this server gave", text)
		}
		p.cursor, p.skip = position, n
	}
	return p, nil
}

// number reads a parameter that is a number.
func (c *call) number(key string, missing, least, most int) (int, *protocol.ErrorInfo) {
	text := c.query.Get(key)
	if text == "" {
		return missing, nil
	}
	n, bad := strconv.Atoi(text)
	if bad != nil || n < least || n > most {
		return 0, protocol.Errorf(protocol.CodeBadParamValue, "%s has to be a number from %d to %d, this is %.40q", key, least, most, text)
	}
	return n, nil
}

// pastLink adds the link to a page of history.
func (c *call) pastLink(rel, last string, p past) {
	direction := "backwards"
	if p.forwards {
		direction = "forwards"
	}
	q := url.Values{"limit": {strconv.Itoa(p.limit)}, "direction": {direction}}
	set := func(key, value string, is bool) {
		if is {
			q.Set(key, value)
		}
	}
	set("start", strconv.FormatInt(p.start, 10), p.start > 0)
	set("end", strconv.FormatInt(p.end, 10), p.end > 0)
	set("from_serial", p.until, p.until != "")
	set("cursor", p.cursor+":"+strconv.Itoa(p.skip), p.cursor != "")
	c.link(rel, last, q)
}
