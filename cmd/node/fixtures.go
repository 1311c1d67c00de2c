package node

import (
	"context"
	"time"

	"innkeeper/raftstore"
	"innkeeper/transport/meter"
)

// statsFixtures keeps made up intervals in the log, where apps may be made up as well.
type statsFixtures struct{ b *boot }

// AddStats implements rest.Fixtures.
func (f statsFixtures) AddStats(ctx context.Context, app string, minutes []meter.Entry) error {
	puts, err := f.b.metering.archive.Fixtures(meter.AppSeries(app), minutes, time.Now().UnixMilli())
	if err != nil {
		return err
	}
	for i, p := range puts {
		// The log keeps the order, so that waiting for the last waits for all.
		put := raftstore.Put{Table: p.Table, Key: p.Key, Value: p.Value, ExpireMs: p.ExpireMs, NoWait: i < len(puts)-1}
		if _, err := f.b.store.Put(ctx, put); err != nil {
			return unreachable(err)
		}
	}
	return nil
}
