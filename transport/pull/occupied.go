package pull

import (
	"errors"
	"net/http"

	"innkeeper/transport/protocol"
)

// occupiedAnswer is one page of GET /occupied.
type occupiedAnswer struct {
	AsOf     uint64         `json:"as_of"` // the seq that all pages of the listing are true for
	Channels []occupiedItem `json:"channels"`
	Next     string         `json:"next,omitempty"` // cursor of the next page; absent on the last
}

type occupiedItem struct {
	Channel string `json:"channel"`
	SinceMs int64  `json:"since_ms"`
	Seq     uint64 `json:"seq"`
}

func (h *Handler) occupied(r *http.Request, app string) (any, error) {
	q := r.URL.Query()
	limit, err := number(q, "limit", 1, limitMost, limitDefault)
	if err != nil {
		return nil, err
	}
	prefix := q.Get("prefix")
	c := cursor{listing: listing(app, prefix)}
	var after *Position
	if text := q.Get("cursor"); text != "" {
		if c, err = resume(text, c.listing); err != nil {
			return nil, err
		}
		after = &c.at
		if err := h.catchUp(r.Context(), c.asOf); err != nil {
			return nil, err
		}
	} else {
		// A table begins with this page, and an old one says of nothing that it is over.
		if err := h.fresh(r.Context(), q, levelLeader); err != nil {
			return nil, err
		}
		if c.asOf, err = h.newest(); err != nil {
			return nil, err
		}
	}
	channels, next, err := h.source.OccupiedPage(c.asOf, app, prefix, after, int(limit))
	switch {
	case errors.Is(err, ErrCompacted):
		return nil, protocol.Errorf(protocol.CodeStalePage,
			"this listing has expired: the log can no longer tell what was occupied as of seq %d; "+
				"start again without a cursor", c.asOf)
	case err != nil:
		return nil, err
	}
	answer := occupiedAnswer{AsOf: c.asOf, Channels: make([]occupiedItem, 0, len(channels))}
	for _, o := range channels {
		answer.Channels = append(answer.Channels, occupiedItem{o.Name, o.SinceMs, o.Seq})
	}
	if next != nil {
		c.at = *next
		answer.Next = c.text()
	}
	return answer, nil
}

// resume reads a cursor that a page of this listing gave.
func resume(text string, listing uint64) (cursor, error) {
	c, err := parseCursor(text)
	if err != nil {
		return c, protocol.Errorf(protocol.CodeBadParamValue,
			"parameter cursor is %.100q, which is not a cursor; it must be the \"next\" of the page before", text)
	}
	if c.listing != listing {
		return c, protocol.Errorf(protocol.CodeBadParamValue,
			"parameter cursor is of another listing; keep the prefix and the app the same from page to page")
	}
	return c, nil
}

// newest is the seq of the newest event here.
func (h *Handler) newest() (uint64, error) {
	first, last, _, err := h.source.Events(0, 1)
	if err != nil && first > 1 {
		err = nil // the oldest are gone; last is true
	}
	return last, err
}
