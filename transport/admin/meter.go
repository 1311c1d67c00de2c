package admin

import "net/http"

// MeterRow is what was open in one interval.
type MeterRow struct {
	StartMs     int64      `json:"start_ms"`
	AsOfMs      int64      `json:"as_of_ms,omitempty"` // while the interval is not over: until when it is told
	Channels    MeterGauge `json:"channels"`
	Connections MeterGauge `json:"connections"`
}

// MeterGauge is what became of a number in an interval. Mean is weighted by time.
type MeterGauge struct {
	Min  int64   `json:"min"`
	Mean float64 `json:"mean"`
	Peak int64   `json:"peak"`
}

// meterRows is how many intervals of a unit are told: as many as one looks at together.
var meterRows = map[string]int{"minute": 60, "hour": 48, "day": 31, "month": 12}

// meter answers GET /meter?unit=…&app=…, app "" being all apps together. Intervals in which nothing was open are left out.
// A node that cannot know of the newest refuses; with consistency=stale one that is cut off tells what it has, and says so.
func (h *live) meter(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	unit := q.Get("unit")
	limit, ok := meterRows[unit]
	if !ok {
		refuse(w, http.StatusBadRequest, "parameter unit is %.100q; it must be minute, hour, day or month", unit)
		return
	}
	stands, stale := h.Standing(), ""
	late := stands.Current()
	switch consistency := q.Get("consistency"); {
	case consistency != "" && consistency != "stale":
		refuse(w, http.StatusBadRequest, "parameter consistency is %.100q; it must be stale or left out", consistency)
		return
	case late != nil && (consistency == "" || stands.Known() != nil):
		refuse(w, late.StatusCode, "%s", late.Message)
		return
	case late != nil:
		stale = late.Message
	}
	rows, err := h.Meter(q.Get("app"), unit, limit)
	if err != nil {
		h.Logger.Error("cannot read the meter", "err", err)
		refuse(w, http.StatusInternalServerError, "the meter cannot be read: %v", err)
		return
	}
	if rows == nil {
		rows = []MeterRow{}
	}
	answer := map[string]any{"unit": unit, "app": q.Get("app"), "limit": limit, "intervals": rows}
	if stale != "" {
		answer["stale"] = stale
	}
	respond(w, http.StatusOK, answer)
}
