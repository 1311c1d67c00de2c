package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"innkeeper/channel"
	"innkeeper/cmd/node/config"
	"innkeeper/transport"
	"innkeeper/transport/dispatch"
	"innkeeper/transport/meter"
)

// lifecycles says for which apps the log knows when channels open and close: those that ask for it, those with a rule
// that does, and, where anybody may make apps, those that were made.
type lifecycles struct {
	apps map[string]bool // of the configuration
	made bool
}

func lifecyclesOf(c *config.Config) lifecycles {
	l := lifecycles{apps: map[string]bool{}, made: c.Auth.AppsAPI}
	for i := range c.Apps {
		a := &c.Apps[i]
		l.apps[a.ID] = a.Lifecycle
		for _, r := range a.Rules {
			if r.Source == dispatch.SourceChannelLifecycle {
				l.apps[a.ID] = true
			}
		}
	}
	return l
}

func (l lifecycles) of(app string) bool {
	on, configured := l.apps[app]
	return on || l.made && !configured
}

func (l lifecycles) any() bool {
	for _, on := range l.apps {
		if on {
			return true
		}
	}
	return l.made
}

// feed is the rule that brings openings and closings from the log to the apps' metachannels: like a webhook it has a
// cursor in the log, so that none is lost, and the ids of events make one that is published again the same message.
func (b *boot) feed() dispatch.Rule {
	return dispatch.Rule{ID: "[meta]" + transport.MetaChannelLifecycle, Source: dispatch.SourceChannelLifecycle, Deliver: b.announceLives}
}

// announceLives publishes a batch: each channel's events in order, those of different channels side by side.
func (b *boot) announceLives(ctx context.Context, events []dispatch.Event) error {
	type place struct{ app, channel string }
	var order []place
	byChannel := map[place][]dispatch.Event{}
	asked := b.lifecycle()
	for _, e := range events {
		if !asked(e.App) {
			continue // the log knows for the sake of a rule about occupancy
		}
		p := place{e.App, e.Channel}
		if byChannel[p] == nil {
			order = append(order, p)
		}
		byChannel[p] = append(byChannel[p], e)
	}
	failures := make([]error, len(order))
	var wg sync.WaitGroup
	for i, p := range order {
		wg.Go(func() {
			for _, e := range byChannel[p] {
				if failures[i] = b.announceLife(ctx, &e); failures[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(failures...)
}

func (b *boot) announceLife(ctx context.Context, e *dispatch.Event) error {
	var counts channel.Counts
	if e.Kind == dispatch.Opened {
		r, err := b.gateway.Query(ctx, e.App, e.Channel)
		if err != nil {
			return err
		}
		counts = r.Counts
	}
	d := transport.DetailsOf(e.Channel, b.site(), e.Kind == dispatch.Opened, &counts)
	return b.gateway.PublishMeta(ctx, e.App, transport.MetaChannelLifecycle, "channel."+e.Kind.String(), e.ID, d)
}

// channels are this node's channels as rules read them.
type channels struct{ b *boot }

func (c channels) History(ctx context.Context, app, name string, q channel.History) (channel.HistoryResult, error) {
	return c.b.gateway.History(ctx, app, name, q)
}

func (c channels) Query(ctx context.Context, app, name string) (channel.QueryResult, error) {
	return c.b.gateway.Query(ctx, app, name)
}

func (c channels) Told(part uint32, epoch uint64, app, name, serial string) {
	c.b.host.Told(part, epoch, app, name, serial)
}

func (c channels) Counted(part uint32, epoch uint64, app, name string, counts channel.Counts) {
	c.b.host.Counted(part, epoch, app, name, counts)
}

// site is the name of this cluster towards clients and backends.
func (b *boot) site() string {
	id := b.store.View().ClusterID
	return id[:min(8, len(id))]
}

// occupancyOf is a channel's occupancy as integration rules tell it.
func (b *boot) occupancyOf(ctx context.Context, app, name string) (channel.Counts, error) {
	r, err := b.gateway.Query(ctx, app, name)
	return r.Counts, err
}

// announceStats brings the minutes that were committed to the apps' metachannels.
func (m *metering) announceStats(batch *meter.Batch) {
	for _, e := range batch.Minutes() {
		app := e.App()
		id := "stats-" + app + "-" + e.Unit.ID(e.StartMs)
		m.b.gateway.AnnounceKept(app, transport.MetaStatsMinute, "update", id, e.Flat(app))
	}
}

// complain tells an app's log that one of its rules fails; nil: that it no longer does.
func (b *boot) complain(app, rule string, failure error) {
	if app == "" {
		return
	}
	name, data := "rule.recovered", ruleReport{"info", time.Now().UnixMilli(), rule, "the target accepts events again"}
	if failure != nil {
		name, data.Level = "rule.failed", "error"
		data.Message = "the target does not accept events; they are sent again until it does: " + failure.Error()
	}
	b.gateway.Announce(app, transport.MetaLog, name, data)
}

// ruleReport is the data of an event on [meta]log about a rule.
type ruleReport struct {
	Level   string `json:"level"`
	Time    int64  `json:"time"` // Unix milliseconds
	Rule    string `json:"rule"`
	Message string `json:"message"`
}
