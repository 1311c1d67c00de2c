package rest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"innkeeper/transport/auth"
	"innkeeper/transport/meter"
)

// archive answers what it was asked with entries that it makes up: one per minute of the question.
type archive struct{ asked meter.Query }

func (a *archive) Find(q meter.Query) (list []meter.Entry, more bool, err error) {
	a.asked = q
	for at := q.Unit.Start(q.ToMs); at >= q.FromMs; at = q.Unit.Start(at - 1) {
		if len(list) == q.Limit {
			return list, true, nil
		}
		list = append(list, meter.Entry{Series: q.Series, Unit: q.Unit, StartMs: at, Row: meter.Row{Samples: 1, Channels: meter.Gauge{Peak: 5}}})
	}
	return list, false, nil
}

func TestStats(t *testing.T) {
	everything, _ := auth.ParseCapability(map[string][]string{"*": {"*"}})
	little, _ := auth.ParseCapability(map[string][]string{"*": {"subscribe"}})
	keys := auth.NewKeys([]auth.Key{
		{App: "app", ID: "root", Secret: "s", Capability: everything}, {App: "app", ID: "little", Secret: "s", Capability: little},
	})
	a := &archive{}
	h := New(Config{Keys: keys, Stats: a})
	get := func(key, query, version string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/stats?"+query, nil)
		r.SetBasicAuth(key, "s")
		r.Header.Set("X-Ably-Version", version)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	const three = "start=2026-02-03:15:03&end=2026-02-03:15:05"
	w := get("app.root", three+"&limit=2", "6")
	links := strings.Join(w.Header().Values("Link"), "\n")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"intervalId":"2026-02-03:15:05"`) || strings.Contains(w.Body.String(), "15:03") {
		t.Errorf("first page: %d %s", w.Code, w.Body)
	}
	if a.asked.Series != meter.AppSeries("app") || !strings.Contains(links, `rel="first"`) {
		t.Errorf("asked %+v, links %s", a.asked, links)
	}
	_, next, ok := strings.Cut(w.Header().Values("Link")[2], "?")
	next, _, _ = strings.Cut(next, ">")
	if !ok || !strings.Contains(links, `rel="next"`) {
		t.Fatalf("no next page: %s", links)
	}
	w = get("app.root", next, "6")
	if !strings.Contains(w.Body.String(), "15:03") || strings.Contains(w.Body.String(), "15:04") || len(w.Header().Values("Link")) != 2 {
		t.Errorf("last page: %s, links %s", w.Body, w.Header().Values("Link"))
	}
	if w = get("app.root", three, "2"); !strings.Contains(w.Body.String(), `"channels":{"peak":5,"mean":5}`) {
		t.Errorf("version 2: %s", w.Body)
	}
	if w = get("app.root", "by=hour&start=2026-02&end=2026-02&direction=forwards", "6"); a.asked.Unit != meter.Hour || !a.asked.Forwards {
		t.Errorf("asked %+v: %d", a.asked, w.Code)
	}
	if w = get("app.little", three, "6"); w.Code != 401 || w.Header().Get("X-Ably-Errorcode") != "40160" {
		t.Errorf("without the capability: %d %s", w.Code, w.Body)
	}
	for _, bad := range []string{"unit=year", "start=yesterday", "end=never", "limit=0", "limit=1001", "start=2&end=1", "direction=up"} {
		if w = get("app.root", bad, "6"); w.Code != 400 {
			t.Errorf("%s: %d %s", bad, w.Code, w.Body)
		}
	}
	if n := h.Requests()["app"]; n.Others == 0 || n.OthersFailed != 8 {
		t.Errorf("counted %+v, want 8 failed", n)
	}
}
