package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"innkeeper/channel"
	"innkeeper/transport/auth"
)

// History answers from a fixed past: publishes of 1, 2, 3, … messages.
func (b *fakeBackend) History(_ context.Context, app, name string, q channel.History) (channel.HistoryResult, error) {
	if b.err != nil {
		return channel.HistoryResult{}, b.err
	}
	b.queried = append(b.queried, app+"/"+name)
	var all []*channel.Delivery
	prev := "01700000000000-000"
	for n := 1; n <= 4; n++ {
		d := &channel.Delivery{App: app, Name: name, Serial: fmt.Sprintf("01700000000000-%03d@s", n), Prev: prev, ID: fmt.Sprint("p", n), ConnID: "c", TimeMs: int64(n)}
		for i := range n {
			d.Messages = append(d.Messages, channel.Message{Name: fmt.Sprint(n, ".", i)})
		}
		all, prev = append(all, d), channel.SerialPosition(d.Serial)
	}
	if q.Backwards {
		slices.Reverse(all)
	}
	r := channel.HistoryResult{Complete: true}
	messages := 0
	for _, d := range all {
		at := channel.SerialPosition(d.Serial)
		if at <= channel.SerialPosition(q.After) || q.Until != "" && at > channel.SerialPosition(q.Until) ||
			d.TimeMs < q.StartMs || q.EndMs > 0 && d.TimeMs > q.EndMs {
			continue
		}
		if messages >= q.Limit {
			r.More = true
			break
		}
		messages += len(d.Messages)
		r.Deliveries = append(r.Deliveries, d)
	}
	return r, nil
}

func (b *fakeBackend) Presence(_ context.Context, app, name string, q channel.PresenceQuery) (channel.PresencePage, error) {
	if b.err != nil {
		return channel.PresencePage{}, b.err
	}
	var page channel.PresencePage
	for _, m := range b.members[name] {
		behind := m.ConnID > q.AfterConn || m.ConnID == q.AfterConn && m.ClientID > q.After
		if !behind || q.ClientID != "" && q.ClientID != m.ClientID || q.ConnID != "" && q.ConnID != m.ConnID {
			continue
		}
		if len(page.Members) == min(q.Limit, 3) { // owners answer with less than asked for
			page.More = true
			break
		}
		page.Members = append(page.Members, m)
	}
	return page, nil
}

func TestHistoryIsPaged(t *testing.T) {
	b := &fakeBackend{}
	h := New(Config{Backend: b, Keys: auth.NewKeys([]auth.Key{{App: "demo", ID: "root", Secret: "s", Capability: auth.AllowAll()}})})
	forwards := "1.0 2.0 2.1 3.0 3.1 3.2 4.0 4.1 4.2 4.3"
	backwards := strings.Fields(forwards)
	slices.Reverse(backwards)
	for query, want := range map[string]string{
		"direction=forwards":               forwards,
		"":                                 strings.Join(backwards, " "),
		"start=2&end=3":                    "3.2 3.1 3.0 2.1 2.0",
		"from_serial=01700000000000-002@s": "2.1 2.0 1.0",
		"fromSerial=01700000000000-001@s":  "1.0",
		"start=9":                          "",
		"direction=forwards&from_serial=01700000000000-002@s": "1.0 2.0 2.1",
	} {
		for limit := 1; limit <= 11; limit++ {
			for _, last := range []string{"messages", "history"} {
				var got []string
				path := fmt.Sprintf("/channels/room/%s?limit=%d&%s", last, limit, query)
				for pages := 0; path != "" && pages < 20; pages++ {
					w := httptest.NewRecorder()
					r := httptest.NewRequest("GET", path, nil)
					r.SetBasicAuth("demo.root", "s")
					h.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						t.Fatalf("%s: %d %s", path, w.Code, w.Body)
					}
					var page []struct {
						Name, ID, ConnectionID, Serial string
						Timestamp                      int64
					}
					if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
						t.Fatal(err)
					}
					if len(page) > limit {
						t.Fatalf("%s: %d messages", path, len(page))
					}
					for _, m := range page {
						n, i, _ := strings.Cut(m.Name, ".")
						if m.ID != "p"+n+":"+i || m.ConnectionID != "c" || m.Serial != "01700000000000-00"+n+"@s:00"+i || m.Timestamp == 0 {
							t.Errorf("%+v", m)
						}
						got = append(got, m.Name)
					}
					path = ""
					for _, l := range w.Header().Values("Link") {
						if target, rel, _ := strings.Cut(l, ">; rel="); rel == `"next"` {
							path = "/channels/room/" + strings.TrimPrefix(target, "<./")
						}
					}
				}
				if strings.Join(got, " ") != want {
					t.Errorf("%q by %d: %v, want %s", query, limit, got, want)
				}
			}
		}
	}
}

func TestHistoryIsRefused(t *testing.T) {
	limited, _ := auth.ParseCapability(map[string][]string{"room": {"subscribe"}})
	h := New(Config{Backend: &fakeBackend{}, Keys: auth.NewKeys([]auth.Key{
		{App: "demo", ID: "root", Secret: "s", Capability: auth.AllowAll()}, {App: "demo", ID: "limited", Secret: "s", Capability: limited},
	})})
	for path, want := range map[string]int{
		"root /channels/room/history?start=2&end=1":      40003,
		"root /channels/room/history?limit=0":            40003,
		"root /channels/room/history?limit=1001":         40003,
		"root /channels/room/history?start=x":            40003,
		"root /channels/room/history?direction=sideways": 40003,
		"root /channels/room/history?cursor=x":           40003,
		"root /channels/:room/history":                   40010,
		"limited /channels/room/history":                 40160,
		"root /channels/room/history/more":               40400,
	} {
		key, path, _ := strings.Cut(path, " ")
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.SetBasicAuth("demo."+key, "s")
		h.ServeHTTP(w, r)
		if got := w.Header().Get("X-Ably-Errorcode"); got != fmt.Sprint(want) {
			t.Errorf("%s: %s, want %d", path, got, want)
		}
	}
}
