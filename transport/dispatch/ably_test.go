package dispatch

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

var lives = []Event{
	{Seq: 7, ID: "7f3a91c2-7", App: "demo", Channel: "chat:a", Kind: Opened, TimeMs: 1697206286533},
	{Seq: 9, ID: "7f3a91c2-9", App: "demo", Channel: "chät", Kind: Opened, TimeMs: 1697206286600},
	{Seq: 12, ID: "7f3a91c2-12", App: "demo", Channel: "chat:a", Kind: Closed, TimeMs: 1697206346533, Ends: 7},
}

// ablySink is a sink of that form which knows of one connection on every channel.
func ablySink(form AblyForm) *httpSink {
	r := Rule{ID: "life", App: "demo", Source: SourceChannelLifecycle, Format: Ably, Ably: form}
	return &httpSink{
		rule: &r, site: func() string { return "7f3a91c2" },
		counts: func(context.Context, string, string) (channel.Counts, error) {
			return channel.Counts{channel.Connections: 1, channel.Publishers: 1}, nil
		},
	}
}

func TestAblyBodies(t *testing.T) {
	for name, form := range map[string]AblyForm{
		"ably-batched": {KeyName: "demo.root", KeySecret: "secret"}, "ably-single": {Single: true}, "ably-plain": {Single: true, Plain: true},
		"ably-batched-msgpack": {KeyName: "demo.root", KeySecret: "secret", Encoding: protocol.MsgPack},
		"ably-single-msgpack":  {Single: true, Encoding: protocol.MsgPack},
	} {
		events := lives
		if form.Single {
			events = lives[1:2]
		}
		body, headers, err := ablySink(form).payload(t.Context(), events)
		if err != nil {
			t.Fatal(err)
		}
		head, err := json.Marshal(headers)
		if err != nil {
			t.Fatal(err)
		}
		text := body
		if form.Encoding == protocol.MsgPack {
			text = bytes.TrimSpace([]byte(hex.Dump(body)))
		}
		golden(t, name+".txt", bytes.Join([][]byte{head, text}, []byte("\n")))
		if form.KeyName != "" {
			mac := hmac.New(sha256.New, []byte(form.KeySecret))
			mac.Write(body)
			if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); headers["X-Ably-Signature"] != want || headers["X-Ably-Key"] != "demo.root" {
				t.Errorf("signed %v, want %s", headers, want)
			}
		}
	}
}

// TestUnknownOccupancyIsAskedAgain has a channel whose owner does not answer: nothing is made up.
func TestUnknownOccupancyIsAskedAgain(t *testing.T) {
	s := ablySink(AblyForm{})
	s.counts = func(context.Context, string, string) (channel.Counts, error) {
		return channel.Counts{}, errors.New("no owner")
	}
	if _, _, err := s.payload(t.Context(), lives[:1]); err == nil {
		t.Error("no error")
	}
	if _, _, err := s.payload(t.Context(), lives[2:]); err != nil {
		t.Errorf("closed: %v", err) // nobody is there: nobody has to be asked
	}
}

func TestSourcesPartTheEvents(t *testing.T) {
	state := Rule{App: "demo", Source: SourceChannelState}
	life := Rule{App: "demo", Source: SourceChannelLifecycle}
	feed := Rule{Source: SourceChannelLifecycle, Deliver: func(context.Context, []Event) error { return nil }}
	for _, kind := range []Kind{Occupied, Vacated, Opened, Closed} {
		e := Event{App: "demo", Kind: kind}
		if got, want := state.Matches(&e), kind == Occupied || kind == Vacated; got != want {
			t.Errorf("state wants %s: %v", kind, got)
		}
		if got, want := life.Matches(&e), kind == Opened || kind == Closed; got != want {
			t.Errorf("lifecycle wants %s: %v", kind, got)
		}
		e.App = "other"
		if got := feed.Matches(&e); got != life.Matches(&Event{App: "demo", Kind: kind}) {
			t.Errorf("the feed wants %s of any app: %v", kind, got)
		}
	}
}

// TestAblyRules sends lifecycle events to a backend: batched and signed, and one by one; what fails is sent again.
func TestAblyRules(t *testing.T) {
	type request struct {
		path, key, contentType string
		body                   []byte
	}
	var mu sync.Mutex
	var got []request
	failures := 2
	arrived := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if failures > 0 {
			failures--
			http.Error(w, "later", http.StatusInternalServerError)
			return
		}
		got = append(got, request{r.URL.Path, r.Header.Get("X-Ably-Key"), r.Header.Get("Content-Type"), body})
		arrived <- struct{}{}
	}))
	defer server.Close()
	log := newFakeLog()
	rules := []Rule{
		{ID: "batched", App: "demo", Source: SourceChannelLifecycle, Format: Ably, URL: server.URL + "/batched", Ably: AblyForm{KeyName: "demo.root", KeySecret: "s"}, Linger: 20 * time.Millisecond, Lanes: 1},
		{ID: "single", App: "demo", Source: SourceChannelLifecycle, Format: Ably, URL: server.URL + "/single", Ably: AblyForm{Single: true}, Lanes: 1},
	}
	d, err := New(Config{Log: log, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i, e := range lives {
		e.Seq = uint64(i + 1)
		log.events = append(log.events, e)
	}
	d.Lead(true)
	for range 4 {
		select {
		case <-arrived:
		case <-time.After(20 * time.Second):
			t.Fatal("not all arrived")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	singles := 0
	for _, r := range got {
		if r.contentType != "application/json" {
			t.Errorf("content type %q", r.contentType)
		}
		switch r.path {
		case "/batched":
			var b struct{ Items []struct{ Name string } }
			if err := json.Unmarshal(r.body, &b); err != nil || len(b.Items) != 3 || b.Items[2].Name != "channel.closed" || r.key != "demo.root" {
				t.Errorf("batched: %s (%v)", r.body, err)
			}
		case "/single":
			var e struct{ RuleID, Source, Channel string }
			if err := json.Unmarshal(r.body, &e); err != nil || e.RuleID != "single" || e.Source != "channel.lifecycle" {
				t.Errorf("single: %s (%v)", r.body, err)
			}
			singles++
		}
	}
	if singles != 3 {
		t.Errorf("%d single requests", singles)
	}
}
