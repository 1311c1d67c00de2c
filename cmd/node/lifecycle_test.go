package node

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"innkeeper/cmd/node/config"
	"innkeeper/transport/protocol"
)

// lifeHook is a backend of integration rules that keeps the names of events by channel.
type lifeHook struct {
	*httptest.Server
	mu   sync.Mutex
	told map[string][]string
	ids  map[string]bool
}

func newLifeHook(t *testing.T) *lifeHook {
	h := &lifeHook{told: map[string][]string{}, ids: map[string]bool{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var batch struct {
			Items []struct {
				Name, Serial string
				Data         struct{ ChannelID string }
			}
		}
		if err := json.Unmarshal(body, &batch); err != nil || r.Header.Get("X-Ably-Key") != "demo.root" {
			t.Errorf("%v in %s (%v)", err, body, r.Header)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, it := range batch.Items {
			if h.ids[it.Serial] {
				continue
			}
			h.ids[it.Serial] = true
			h.told[it.Data.ChannelID] = append(h.told[it.Data.ChannelID], it.Name)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *lifeHook) of(channel string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.told[channel])
}

// TestLifecycleIsTold opens and closes channels on two nodes, and restarts all in between: a rule and a metachannel tell
// each of both once, and nobody hears of metachannels or of state events.
func TestLifecycleIsTold(t *testing.T) {
	hook := newLifeHook(t)
	with := func(c config.Config) config.Config {
		c.Channels.IdleClose = 300 * time.Millisecond
		c.Apps[0].Rules = []config.Rule{{
			ID: "life", Source: "channel.lifecycle", Target: config.Target{URL: hook.URL, Format: "ably", SigningKey: "root"},
		}}
		return c
	}
	firstDir := t.TempDir()
	first := run(t, with(settings(firstDir))).ready()
	second := run(t, with(joining(t.TempDir(), first))).ready()

	watcher := second.connect("format=json")
	watcher.attach("[meta]channel.lifecycle")
	stays := first.occupy("stays")
	second.occupy("goes").raw.Close()
	posted, body := request(t, http.MethodPost, "http://"+first.ClientAddr()+"/channels/posted/messages", rootKey, "application/json", []byte(`{"name":"x"}`))
	if posted.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", posted.Status, body)
	}
	want := []string{"channel.opened", "channel.closed"}
	seen := map[string][]string{}
	for len(seen["goes"]) < 2 || len(seen["posted"]) < 2 || len(seen["stays"]) < 1 {
		pm := watcher.expect(protocol.ActionMessage)
		for _, m := range pm.Messages {
			var d struct {
				ChannelID string
				Status    struct{ IsActive bool }
			}
			if err := json.Unmarshal(m.Data, &d); err != nil || d.Status.IsActive != (m.Name == "channel.opened") {
				t.Errorf("%s: %s (%v)", m.Name, m.Data, err)
			}
			seen[d.ChannelID] = append(seen[d.ChannelID], m.Name)
		}
	}
	if !slices.Equal(seen["goes"], want) || !slices.Equal(seen["posted"], want) || len(seen["stays"]) != 1 || len(seen) != 3 {
		t.Errorf("the metachannel told %v", seen)
	}
	first.until("the rule", func() bool {
		return slices.Equal(hook.of("goes"), want) && slices.Equal(hook.of("posted"), want) && len(hook.of("stays")) == 1
	})
	for _, e := range first.events() {
		if strings.HasPrefix(e.Channel, "[meta]") || e.Type != "occupied" && e.Type != "vacated" {
			t.Errorf("event %+v", e)
		}
	}
	var all struct{ Events []event }
	first.get("/events?after=0&types=opened,closed", &all)
	if len(all.Events) < 5 || all.Events[0].Type != "opened" {
		t.Errorf("events of lifecycle: %+v", all.Events)
	}

	// Both nodes die with a channel open: whoever comes next closes it.
	first.Kill()
	second.Kill()
	first.end()
	second.end()
	stays.raw.Close()
	c := with(settings(firstDir))
	c.StateEvents.RestartGrace = 200 * time.Millisecond
	again := run(t, c).ready()
	again.until("the end of what was open", func() bool { return slices.Equal(hook.of("stays"), want) })
}
