package transport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/protocol"
)

func TestShardCount(t *testing.T) {
	for _, tc := range []struct{ most, partitions, want int }{
		{8, 128, 8}, {3, 128, 2}, {16, 4096, 8}, {8, 8, 8}, {8, 4, 4}, {8, 100, 4}, {8, 7, 1}, {1, 128, 1}, {2, 3, 1},
	} {
		if got := shardCount(tc.most, tc.partitions); got != tc.want {
			t.Errorf("%d at most for %d partitions: %d, want %d", tc.most, tc.partitions, got, tc.want)
		}
	}
}

// Every partition lies whole in one shard, and a channel's shard is that of its partition under every layout.
func TestChannelsKeepTheirShard(t *testing.T) {
	g := &Gateway{shards: make([]*shard, 8)}
	for i := range g.shards {
		g.shards[i] = &shard{g: g, index: i}
	}
	for n := ring.PartitionsMin; n <= ring.PartitionsMax; n *= 2 {
		g.partitions.Store(int64(n))
		for _, s := range g.shards {
			s.parts = make([]*partition, n/len(g.shards))
		}
		for range 2000 {
			hash := rand.Uint64()
			part := ring.Partition(hash, n)
			s := g.shardOf(hash)
			if s != g.shardOfPart(part) || s.at(hash).id != part || s.part(part) != s.at(hash) {
				t.Fatalf("%d partitions: place %x is in partition %d and shard %d", n, hash, part, s.index)
			}
		}
		if g.shardOfPart(uint32(n)) != nil || g.shards[1].part(0) != nil || g.shards[0].part(uint32(n-1)) != nil {
			t.Errorf("%d partitions: one that is not there was found", n)
		}
	}
}

// What is held and what waits is found in the partitions of the new layout, and clients hear nothing of it.
func TestLayoutIsChanged(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprint("room-", i))
			c.attach(names[i], nil)
		}
		for turn, n := range []int{64, 16, 16, 8, 256} {
			epoch := uint64(10 * (turn + 1))
			w.unroute()
			synctest.Wait()
			w.owner.set(func(o *owner) { o.heard = nil })
			for i, name := range names {
				c.publish(name, int64(turn*len(names)+i), "while nobody is routed")
			}
			synctest.Wait()
			w.g.Layout(n)
			w.g.FromOwner("n1", 3, epoch-9, &channel.Occupancy{App: "demo", Name: names[0]}) // of the layout before
			w.route(Route{Node: "n1", Epoch: epoch, Session: epoch})
			time.Sleep(time.Second)
			synctest.Wait()
			registered, published := map[string]uint32{}, map[string]uint32{}
			w.owner.set(func(o *owner) {
				for _, h := range o.heard {
					if h.route.Epoch != epoch {
						t.Errorf("heard %T at epoch %d", h.m, h.route.Epoch)
					}
					switch m := h.m.(type) {
					case *channel.Snapshot:
						for _, r := range m.Registers {
							registered[r.Name] = h.part
						}
					case *channel.Publish:
						published[m.Name] = h.part
					}
				}
			})
			for _, name := range names {
				want := ring.Partition(ring.Hash("demo", name), n)
				if got, ok := registered[name]; !ok || got != want {
					t.Errorf("%d partitions: %s was registered in %d (%v), want %d", n, name, got, ok, want)
				}
				if got, ok := published[name]; !ok || got != want {
					t.Errorf("%d partitions: a publish on %s went to %d (%v), want %d", n, name, got, ok, want)
				}
			}
			for got := 0; got < len(names); {
				switch pm := c.next(); pm.Action {
				case protocol.ActionMessage:
					got++
				case protocol.ActionAck:
				default:
					t.Errorf("the client heard %+v", pm)
				}
			}
			info := w.g.PartitionInfo()
			held := 0
			for i, p := range info {
				if p.Partition != uint32(i) || p.Owner != "n1" || p.Epoch != epoch || p.Requests != 0 {
					t.Errorf("partition %d is %+v", i, p)
				}
				held += p.Channels
			}
			if len(info) != n || held != len(names) {
				t.Errorf("%d partitions with %d channels, want %d with %d", len(info), held, n, len(names))
			}
		}
	})
}

// A list that is under way when the ring is cut anew has every channel once.
func TestListWhileTheRingIsCutAnew(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			l := newLibrary(t, 16, 300)
			defer l.g.Close()
			epoch := uint64(1)
			l.cuts = map[uint64]int{}
			l.before = func() bool {
				if len(l.cuts) == 12 || rnd.IntN(8) > 0 {
					return true
				}
				// This answer is lost with the layout.
				epoch++
				n := 8 << rnd.IntN(6)
				l.cuts[epoch] = n
				l.g.Layout(n)
				for p := range uint32(n) {
					l.g.Routed(p, Route{Node: "n1", Epoch: epoch, Session: epoch})
				}
				return false
			}
			var got []channel.Listed
			for after := (&channel.Position{}); after != nil; {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				items, next, err := l.g.List(ctx, "", *after, "", 1+rnd.IntN(60))
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				got, after = append(got, items...), next
			}
			if !slices.Equal(got, l.channels) {
				t.Errorf("seed %d: listed %d channels, want %d", seed, len(got), len(l.channels))
			}
		})
	}
}
