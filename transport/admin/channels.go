package admin

import (
	"encoding/binary"
	"errors"
	"net/http"
	"strconv"
	"unicode/utf8"

	"innkeeper/channel"
	"innkeeper/transport/opaque"
)

// How many channels a page may hold.
const (
	limitMost    = 1000
	limitDefault = 100
)

// page is the answer to GET /channels.
type page struct {
	Channels []item `json:"channels"`
	Next     string `json:"next,omitempty"` // cursor of the next page; absent on the last
}

type item struct {
	App       string    `json:"app"`
	Channel   string    `json:"channel"`
	Occupancy occupancy `json:"occupancy"`
}

type occupancy struct {
	Connections         int32 `json:"connections"`
	Publishers          int32 `json:"publishers"`
	Subscribers         int32 `json:"subscribers"`
	PresenceConnections int32 `json:"presenceConnections"`
	PresenceMembers     int32 `json:"presenceMembers"`
	PresenceSubscribers int32 `json:"presenceSubscribers"`
	ObjectPublishers    int32 `json:"objectPublishers"`
	ObjectSubscribers   int32 `json:"objectSubscribers"`
}

func occupancyOf(c channel.Counts) occupancy {
	return occupancy{
		Connections:         c[channel.Connections],
		Publishers:          c[channel.Publishers],
		Subscribers:         c[channel.Subscribers],
		PresenceConnections: c[channel.PresenceConnections],
		PresenceMembers:     c[channel.PresenceMembers],
		PresenceSubscribers: c[channel.PresenceSubscribers],
		ObjectPublishers:    c[channel.ObjectPublishers],
		ObjectSubscribers:   c[channel.ObjectSubscribers],
	}
}

func (h *handler) channels(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit := limitDefault
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > limitMost {
			refuse(w, http.StatusBadRequest, "parameter limit is %.100q; it must be a whole number from 1 to %d", text, limitMost)
			return
		}
		limit = n
	}
	var after channel.Position
	if text := q.Get("cursor"); text != "" {
		var err error
		if after, err = parseCursor(text); err != nil {
			refuse(w, http.StatusBadRequest, "parameter cursor is %.100q; it must be the \"next\" of the page before", text)
			return
		}
	}
	listed, next, err := h.List(r.Context(), q.Get("app"), after, q.Get("prefix"), limit)
	if err != nil {
		h.Logger.Warn("cannot list channels", "err", err)
		refuse(w, http.StatusServiceUnavailable, "the channels cannot be listed completely now, and a part would mislead: %v", err)
		return
	}
	answer := page{Channels: make([]item, 0, len(listed))}
	for _, l := range listed {
		answer.Channels = append(answer.Channels, item{l.App, l.Name, occupancyOf(l.Counts)})
	}
	if next != nil {
		answer.Next = cursorText(*next)
	}
	respond(w, http.StatusOK, answer)
}

// A cursor is a version, the hash, the length of the app id, the app id and the name, in base64url.
const cursorVersion = 1

var errCursor = errors.New("admin: not a cursor")

func cursorText(p channel.Position) string {
	b := []byte{cursorVersion}
	b = binary.BigEndian.AppendUint64(b, p.Hash)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.App)))
	b = append(b, p.App...)
	b = append(b, p.Name...)
	return opaque.Text(b)
}

func parseCursor(text string) (p channel.Position, err error) {
	const head = 1 + 8 + 2
	b, ok := opaque.Bytes(text)
	if !ok || len(b) < head || b[0] != cursorVersion || !utf8.Valid(b[head:]) {
		return p, errCursor
	}
	n := int(binary.BigEndian.Uint16(b[9:]))
	if len(b) < head+n {
		return p, errCursor
	}
	return channel.Position{
		Hash: binary.BigEndian.Uint64(b[1:]), App: string(b[head : head+n]), Name: string(b[head+n:]),
	}, nil
}
