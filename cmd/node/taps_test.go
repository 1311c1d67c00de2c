package node

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"innkeeper/cluster/ring"
	"innkeeper/cmd/node/config"
	"innkeeper/transport/protocol"
)

// messageHook is a backend of rules about messages that keeps their data by channel, each message once, and the last
// occupancy told.
type messageHook struct {
	*httptest.Server
	mu       sync.Mutex
	down     bool
	refused  int
	told     map[string][]string
	seen     map[string]bool
	repeated int
	counts   map[string]int
}

func newMessageHook(t *testing.T) *messageHook {
	h := &messageHook{told: map[string][]string{}, seen: map[string]bool{}, counts: map[string]int{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.down {
			h.refused++
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		var batch struct {
			Items []struct {
				Name string
				Data struct {
					ChannelID string
					Messages  []struct{ ID, Data string }
					Status    struct {
						Occupancy struct{ Metrics struct{ Connections int } }
					}
				}
			}
		}
		if err := json.Unmarshal(body, &batch); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		for _, it := range batch.Items {
			if it.Name == "channel.occupancy" {
				h.counts[it.Data.ChannelID] = it.Data.Status.Occupancy.Metrics.Connections
			}
			for _, m := range it.Data.Messages {
				if h.seen[m.ID] {
					h.repeated++
					continue
				}
				h.seen[m.ID] = true
				h.told[it.Data.ChannelID] = append(h.told[it.Data.ChannelID], m.Data)
			}
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *messageHook) with(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// TestMessagesAreToldThroughAnOwnersDeath publishes while the backend is down, kills an owner, and has the backend come
// back: every message is told, in order, and what was told before is told again at most where nobody could know.
func TestMessagesAreToldThroughAnOwnersDeath(t *testing.T) {
	hook := newMessageHook(t)
	with := func(c config.Config) config.Config {
		c.Apps[0].Rules = []config.Rule{
			{ID: "messages", Source: "channel.message", Channels: "^told:", Target: config.Target{URL: hook.URL, Format: "ably"}},
			{ID: "counts", Source: "channel.occupancy", Channels: "^told:", Target: config.Target{URL: hook.URL, Format: "ably"}},
		}
		return c
	}
	first := run(t, with(settings(t.TempDir()))).ready()
	second := run(t, with(joining(t.TempDir(), first))).ready()
	third := run(t, with(joining(t.TempDir(), first))).ready()
	first.until("votes", func() bool { return first.voters() == 3 })
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprint("told:", i))
	}
	publish := func(r *running, text string) {
		for _, name := range names {
			res, body := request(t, http.MethodPost, "http://"+r.ClientAddr()+"/channels/"+name+"/messages", rootKey, "application/json", jsonOf(t, map[string]string{"data": text}))
			if res.StatusCode != http.StatusCreated {
				t.Fatalf("%s %s", res.Status, body)
			}
		}
	}
	told := func(want ...string) func() bool {
		return func() (ok bool) {
			hook.with(func() {
				ok = true
				for _, name := range names {
					ok = ok && slices.Equal(hook.told[name], want)
				}
			})
			return ok
		}
	}
	first.occupy(names[0])
	publish(first, "a")
	first.until("a", told("a"))
	first.until("the count", func() (ok bool) {
		hook.with(func() { ok = hook.counts[names[0]] == 1 })
		return ok
	})
	hook.with(func() { hook.down = true })
	publish(second, "b")
	publish(first, "c")
	first.until("a refusal", func() (ok bool) {
		hook.with(func() { ok = hook.refused > 0 })
		return ok
	})
	third.Kill()
	third.end()
	publish(first, "d") // waits until every channel has an owner again
	hook.with(func() { hook.down = false })
	first.until("all that was published", told("a", "b", "c", "d"))
	hook.with(func() {
		if hook.repeated > 0 {
			t.Errorf("%d messages were told again", hook.repeated)
		}
	})
}

// A rule that is made while a channel is in use is served from then on.
func TestRuleOfAChannelInUse(t *testing.T) {
	hook := newMessageHook(t)
	n := run(t, settings(t.TempDir())).ready()
	publish := func(text string) {
		t.Helper()
		res, body := request(t, http.MethodPost, "http://"+n.ClientAddr()+"/channels/used/messages", rootKey, "application/json", jsonOf(t, map[string]string{"data": text}))
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("%s %s", res.Status, body)
		}
	}
	n.occupy("used")
	publish("before")
	for _, source := range []string{"channel.message", "channel.occupancy"} {
		n.steer("POST", "/apps/demo/rules", fmt.Sprintf(`{"source":%q,"target":{"url":%q,"format":"ably"}}`, source, hook.URL), 201, nil)
	}
	publish("after")
	n.occupy("used")
	n.until("what was said then, and the count", func() (ok bool) {
		hook.with(func() { ok = len(hook.told["used"]) > 0 && hook.counts["used"] == 2 })
		return ok
	})
	hook.with(func() {
		if got := hook.told["used"]; !slices.Equal(got, []string{"after"}) {
			t.Errorf("told %q", got)
		}
	})
}

// Whoever was told that somebody is on a channel is told that nobody is any more, whatever dies in between: the owner, or all
// there is.
func TestCountsAreToldThroughDeaths(t *testing.T) {
	hook := newMessageHook(t)
	with := func(c config.Config) config.Config {
		c.Apps[0].Rules = []config.Rule{{ID: "counts", Source: "channel.occupancy", Target: config.Target{URL: hook.URL, Format: "ably"}}}
		return c
	}
	told := func(want int, names []string) func() bool {
		return func() (ok bool) {
			hook.with(func() {
				ok = true
				for _, name := range names {
					n, known := hook.counts[name]
					ok = ok && known && n == want
				}
			})
			return ok
		}
	}
	names := func(prefix string) (list []string) {
		for i := range 12 {
			list = append(list, fmt.Sprint(prefix, i))
		}
		return list
	}
	down := func(down bool) { hook.with(func() { hook.down = down }) }

	cfg := with(settings(t.TempDir()))
	alone := run(t, cfg).ready()
	publishing, seen := names("publishers:"), names("subscribers:")
	// No subscriber: the log knows of no obligation.
	quiet := alone.connect("format=json")
	for _, name := range publishing {
		quiet.send(fmt.Appendf(nil, `{"action":10,"channel":%q,"flags":%d}`, name, protocol.ModePublish))
		quiet.expect(protocol.ActionAttached)
	}
	alone.occupy(seen...)
	alone.until("the counts", told(1, append(publishing, seen...)))
	alone.Kill()
	alone.end()
	first := run(t, cfg).ready()
	first.until("that nobody is there", told(0, append(publishing, seen...)))

	second := run(t, with(joining(t.TempDir(), first))).ready()
	third := run(t, with(joining(t.TempDir(), first))).ready()
	first.until("votes", func() bool { return first.voters() == 3 })
	left := names("left:")
	c := second.occupy(left...)
	first.until("the counts", told(1, left))
	down(true)
	c.close()
	first.until("vacated", func() bool {
		return !slices.ContainsFunc(first.occupied(), func(h held) bool { return strings.HasPrefix(h.Channel, "left:") })
	})
	third.Kill()
	third.end()
	first.until("other owners", func() bool {
		return !slices.ContainsFunc(first.boot.Load().store.View().Table.Slots, func(s ring.Slot) bool { return s.Owner == third.ID() })
	})
	down(false)
	first.until("that nobody is there, told at last", told(0, left))
}
