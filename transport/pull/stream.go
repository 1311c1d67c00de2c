package pull

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"innkeeper/transport/dispatch"
	"innkeeper/transport/protocol"
	"innkeeper/transport/standing"
)

const (
	beatEvery    = 15 * time.Second // a stream is never silent for longer: proxies and readers give up on silence
	writeTimeout = 30 * time.Second // for a reader that does not read
	reconnectMs  = 1000             // what browsers wait before they come back
)

// wantsStream says whether the reader asked for server-sent events.
func wantsStream(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		if strings.Contains(strings.ToLower(accept), "text/event-stream") {
			return true
		}
	}
	return false
}

// stream is one reader of server-sent events. Its goroutine is the request's.
type stream struct {
	source Source
	want   func(*dispatch.Event) bool
	w      http.ResponseWriter
	flush  *http.ResponseController

	at    uint64 // everything up to here was looked at
	exact bool   // events missing right behind at are a gap, also behind 0
	stale bool   // the reader wants to stay although the node is cut off
	told  uint64 // the reader's position, as far as it was told
	spoke time.Time
	buf   []byte
}

// openStream checks a request for a stream. Its errors go out as for any other request.
func (h *Handler) openStream(w http.ResponseWriter, r *http.Request) (*stream, error) {
	app, err := h.authorize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	want, err := h.wanted(q, app)
	if err != nil {
		return nil, err
	}
	after, exact, err := streamAfter(r, q)
	if err != nil {
		return nil, err
	}
	if err := h.fresh(r.Context(), q, ""); err != nil {
		return nil, err
	}
	if err := h.catchUp(r.Context(), after); err != nil {
		return nil, err
	}
	return &stream{source: h.source, want: want, w: w, flush: http.NewResponseController(w), at: after, told: after, exact: exact, stale: q.Get("consistency") == levelStale}, nil
}

// streamAfter is where a stream begins. What a reader has seen counts more than what its URL says: browsers come back
// with the URL they first had. after=0 is whatever there is; who has seen all up to 0 misses what is gone.
func streamAfter(r *http.Request, q url.Values) (after uint64, exact bool, err error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		after, err = number(q, "after", 0, math.MaxUint64, 0)
		return after, after > 0, err
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false, protocol.Errorf(protocol.CodeBadParamValue, "header Last-Event-ID is %.100q; it must be the id of an event of this stream", text)
	}
	return seq, true, nil
}

// run writes events until ctx ends, the reader is gone, the log stops or this node is cut off, which would keep the reader
// waiting for events that others have. None of these is an error of the stream: a reader comes back, maybe elsewhere,
// with the last id it has seen.
func (s *stream) run(ctx context.Context) {
	s.buf = fmt.Appendf(s.buf, "retry: %d\n\n", reconnectMs)
	if s.send() != nil {
		return
	}
	for ctx.Err() == nil && (s.stale || s.source.Standing() == standing.InTouch) {
		first, last, events, err := s.source.Events(s.at, scanChunk)
		if first > s.at+1 {
			s.gap(first)
			continue
		}
		if err != nil {
			return
		}
		for i := range events {
			e := &events[i]
			if s.at = e.Seq; s.want(e) {
				s.event(e)
			}
		}
		if time.Since(s.spoke) >= beatEvery {
			s.beat()
		}
		if s.send() != nil {
			return
		}
		if s.at < last && len(events) > 0 {
			continue
		}
		if err := s.wait(ctx); err != nil {
			return
		}
	}
}

// wait returns when there may be an event, or it is time to say something.
func (s *stream) wait(ctx context.Context) error {
	limited, cancel := context.WithDeadline(ctx, s.spoke.Add(beatEvery))
	defer cancel()
	err := s.source.WaitEvents(limited, s.at)
	if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
		return nil
	}
	return err
}

// event lays one event. Its JSON says what kind it is, so that a browser gets all of them by one handler.
func (s *stream) event(e *dispatch.Event) {
	s.buf = fmt.Appendf(s.buf, "id: %d\ndata: ", e.Seq)
	text, _ := e.MarshalJSON() // cannot fail
	s.buf = append(append(s.buf, text...), "\n\n"...)
	s.told = e.Seq
}

// gap says that the events up to first are gone, unless the reader asked for whatever there is.
func (s *stream) gap(first uint64) {
	if s.exact {
		s.buf = fmt.Appendf(s.buf, "id: %d\nevent: gap\ndata: {\"after\":%d,\"first\":%d}\n\n", first-1, s.at, first)
		s.told = first - 1
	}
	s.at, s.exact = first-1, true
}

// beat says that the stream lives and, where events that this reader does not get were passed, how far it is. An id
// without data moves the position of a browser and fires no event.
func (s *stream) beat() {
	s.buf = append(s.buf, ":\n"...)
	if s.told != s.at {
		s.buf = fmt.Appendf(s.buf, "id: %d\n", s.at)
		s.told = s.at
	}
	s.buf = append(s.buf, '\n')
}

// send writes what was laid.
func (s *stream) send() error {
	if len(s.buf) == 0 {
		return nil
	}
	if err := s.flush.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	_, err := s.w.Write(s.buf)
	s.buf, s.spoke = s.buf[:0], time.Now()
	if err != nil {
		return err
	}
	return s.flush.Flush()
}

// serveStream answers a request for server-sent events.
func (h *Handler) serveStream(w http.ResponseWriter, r *http.Request) {
	s, err := h.openStream(w, r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // proxies that collect answers would hold events back
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		s.run(r.Context())
	}
}
