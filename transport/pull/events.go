package pull

import (
	"context"
	"math"
	"net/http"

	"innkeeper/transport/dispatch"
	"innkeeper/transport/protocol"
)

// scanChunk is how many events of the log are looked at in one go for those of an app.
const scanChunk = 1000

// eventsAnswer is the body of GET /events.
type eventsAnswer struct {
	First  uint64           `json:"first"` // oldest seq that the log retains
	Last   uint64           `json:"last"`  // newest; unless limit cut the answer short, it covers all up to here
	Events []dispatch.Event `json:"events"`
}

func (h *Handler) events(r *http.Request, app string) (any, error) {
	q := r.URL.Query()
	after, err := number(q, "after", 0, math.MaxUint64, 0)
	if err != nil {
		return nil, err
	}
	limit, err := number(q, "limit", 1, limitMost, limitDefault)
	if err != nil {
		return nil, err
	}
	wait, err := duration(q, "wait", waitMost)
	if err != nil {
		return nil, err
	}
	want, err := h.wanted(q, app)
	if err != nil {
		return nil, err
	}
	if err := h.fresh(r.Context(), q, ""); err != nil {
		return nil, err
	}
	if err := h.catchUp(r.Context(), after); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	for {
		answer, err := h.scan(want, after, int(limit))
		if err != nil || len(answer.Events) > 0 || ctx.Err() != nil {
			return answer, err
		}
		// All up to answer.Last is not for this reader: look no more at it.
		after = answer.Last
		if err := h.source.WaitEvents(ctx, after); err != nil {
			if ctx.Err() == nil {
				return nil, err
			}
			if r.Context().Err() != nil {
				return nil, r.Context().Err()
			}
			return answer, nil // the wait is over
		}
	}
}

// scan collects up to limit wanted events behind after, reading the log to its end if need be.
func (h *Handler) scan(want func(*dispatch.Event) bool, after uint64, limit int) (eventsAnswer, error) {
	answer := eventsAnswer{Events: []dispatch.Event{}}
	for at := after; ; {
		first, last, events, err := h.source.Events(at, scanChunk)
		if err != nil && at == 0 && first > 1 { // "the oldest you have"
			first, last, events, err = h.source.Events(first-1, scanChunk)
		}
		if at > 0 && first > at+1 {
			return answer, protocol.Errorf(protocol.CodeStalePage,
				"the events behind seq %d are no longer retained, the oldest is %d; "+
					"start again: read /occupied and go on with after set to its as_of", at, first)
		}
		if err != nil {
			return answer, err
		}
		answer.First, answer.Last = first, max(last, at)
		for i := range events {
			at = events[i].Seq
			if !want(&events[i]) {
				continue
			}
			if answer.Events = append(answer.Events, events[i]); len(answer.Events) == limit {
				return answer, nil
			}
		}
		if at >= last || len(events) == 0 {
			return answer, nil
		}
	}
}
