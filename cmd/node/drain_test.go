package node

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"innkeeper/cluster/ring"
	"innkeeper/raftstore"
	"innkeeper/transport/protocol"
)

// TestDrain has a node hand over what it has: channels go on where they were, with their messages and without an event,
// and its clients are told to go elsewhere.
func TestDrain(t *testing.T) {
	slow := func(dir string, to *running) *running {
		cfg := settings(dir)
		if to != nil {
			cfg = joining(dir, to)
		}
		cfg.StateEvents.VacatedDelay = time.Minute
		cfg.Node.DrainSpread = 100 * time.Millisecond
		return run(t, cfg)
	}
	first := slow(t.TempDir(), nil).ready()
	lone := first.boot.Load()
	if _, err := lone.drain(t.Context(), ""); statusOf(err) != http.StatusConflict {
		t.Errorf("the only node: got %v", err)
	}
	if _, err := lone.drain(t.Context(), "nobody"); statusOf(err) != http.StatusNotFound {
		t.Errorf("nobody: got %v", err)
	}
	second := slow(t.TempDir(), first).ready()
	third := slow(t.TempDir(), first).ready()
	owned := func(n *running) (owned int) {
		for _, slot := range first.boot.Load().store.View().Table.Slots {
			if slot.Owner == n.ID() {
				owned++
			}
		}
		return owned
	}
	first.until("a share for everybody", func() bool { return owned(first) < 4 && owned(second) >= 2 && owned(third) >= 2 })

	const channels = 24
	stays := first.connect("format=json")
	for i := range channels {
		stays.attach(fmt.Sprint("chat:", i))
		publish(stays, fmt.Sprint("chat:", i), int64(i))
	}
	guest := second.connect("format=json")
	guest.attach("chat:0")

	if id, err := first.boot.Load().drain(t.Context(), second.ID()); id != second.ID() || err != nil {
		t.Fatalf("drains %q, %v", id, err)
	}
	if pm := guest.expect(protocol.ActionDisconnected); pm.Error == nil || pm.Error.Code != protocol.CodeDisconnected {
		t.Errorf("the guest was told %+v", pm.Error)
	}
	guest.ends(1012)
	if n := owned(second); n != 0 {
		t.Errorf("the guest was sent away while the node owned %d partitions", n)
	}
	if err := second.end(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	first.until("its death", func() bool {
		for _, m := range first.boot.Load().store.View().Members {
			if m.Node == second.ID() {
				return m.State == raftstore.Dead
			}
		}
		return false
	})
	if _, err := first.boot.Load().drain(t.Context(), second.ID()); statusOf(err) != http.StatusConflict {
		t.Errorf("once more: got %v", err)
	}
	for i := range channels {
		publish(stays, fmt.Sprint("chat:", i), int64(channels+i))
		var page []struct{ Data string }
		first.get(fmt.Sprintf("/channels/chat:%d/messages", i), &page)
		if len(page) != 2 || page[0].Data != fmt.Sprint(channels+i) || page[1].Data != fmt.Sprint(i) {
			t.Errorf("chat:%d has %+v", i, page)
		}
	}
	if events := first.events(); len(events) != channels {
		t.Errorf("%d events, want %d: %+v", len(events), channels, events)
	}
}

// publish publishes to a channel that the client is attached to, and waits for the answer.
func publish(c *client, channel string, serial int64) {
	c.t.Helper()
	c.send(protocol.AppendPublish(nil, c.format, channel, serial, nil, message(fmt.Sprint(serial))))
	for echo, ack := false, false; !echo || !ack; {
		switch pm := c.next(); pm.Action {
		case protocol.ActionMessage:
			echo = true
		case protocol.ActionAck:
			ack = true
		default:
			c.t.Fatalf("got %v (%v)", pm.Action, pm.Error)
		}
	}
}

// TestDiskFailsWhileDraining: the node ends at once and says why, since its log can hand over nothing any more and others
// wait for its lease to end.
func TestDiskFailsWhileDraining(t *testing.T) {
	first := run(t, settings(t.TempDir())).ready()
	disk, log := raftstore.NewMemDisk(), newLogs()
	cfg := joining(t.TempDir(), first)
	cfg.Node.DrainTimeout = patience
	n, err := New(Options{Config: cfg, Disk: disk, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	second := launch(t, n, log).ready()
	first.until("a share for both", func() bool {
		return slices.ContainsFunc(first.boot.Load().store.View().Table.Slots, func(s ring.Slot) bool { return s.Owner == second.ID() })
	})
	disk.OnWrite(func(w raftstore.Write) (time.Duration, error) {
		if w.Op == "log" {
			return 0, errors.New("input/output error")
		}
		return 0, nil
	})
	began := time.Now()
	second.beginDrain()
	err = second.end()
	var fatal *raftstore.FatalError
	if !errors.As(err, &fatal) || fatal.Kind != raftstore.FatalDisk {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
}
