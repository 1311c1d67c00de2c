package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/protocol"
)

// library is an owner that only lists.
type library struct {
	g          *Gateway
	partitions int
	channels   []channel.Listed // in order of enumeration
	silent     map[uint32]bool
	asked      int
	cuts       map[uint64]int // partitions by epoch, where they are others than partitions
	before     func() bool    // an answer; false: there is none
}

func (l *library) ToOwner(part uint32, r Route, m channel.ToOwner) bool {
	q, ok := m.(*channel.List)
	if !ok || l.silent[part] {
		return true
	}
	l.asked++
	if l.before != nil && !l.before() {
		return true
	}
	partitions := l.partitions
	if n, ok := l.cuts[r.Epoch]; ok {
		partitions = n
	}
	res := &channel.ListResult{Req: q.Req}
	for _, c := range l.channels {
		h := ring.Hash(c.App, c.Name)
		if ring.Partition(h, partitions) != part || (q.App != "" && c.App != q.App) || !strings.HasPrefix(c.Name, q.Prefix) ||
			compare(channel.Position{Hash: h, App: c.App, Name: c.Name}, q.After) <= 0 {
			continue
		}
		if len(res.Channels) == q.Limit {
			res.More = true
			break
		}
		res.Channels = append(res.Channels, c)
	}
	l.g.FromOwner(r.Node, part, r.Epoch, res)
	return true
}

func compare(a, b channel.Position) int {
	return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
}

func newLibrary(t *testing.T, partitions, n int) *library {
	l := &library{partitions: partitions, silent: map[uint32]bool{}}
	for i := range n {
		l.channels = append(l.channels, channel.Listed{App: []string{"demo", "other"}[i%2], Name: fmt.Sprint("room:", i)})
	}
	slices.SortFunc(l.channels, func(a, b channel.Listed) int { return compare(*position(a), *position(b)) })
	l.g = NewGateway(GatewayConfig{Owners: l, Auth: testKeys(t), Partitions: partitions, Shards: 1})
	for p := range uint32(partitions) {
		l.g.Routed(p, Route{Node: "n1", Epoch: 1, Session: 1})
	}
	return l
}

func TestListWalksAllPages(t *testing.T) {
	for _, tc := range []struct{ partitions, channels, limit int }{
		{1, 0, 10}, {1, 100, 7}, {16, 1, 1}, {16, 200, 1000}, {16, 200, 13}, {128, 40, 5}, {128, 1000, 100}, {3, 100, 50},
	} {
		t.Run(fmt.Sprint(tc), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLibrary(t, tc.partitions, tc.channels)
				defer l.g.Close()
				for _, app := range []string{"", "demo"} {
					var want, got []channel.Listed
					for _, c := range l.channels {
						if app == "" || c.App == app {
							want = append(want, c)
						}
					}
					after := channel.Position{}
					for pages := 0; ; pages++ {
						items, next, err := l.g.List(t.Context(), app, after, "room:", tc.limit)
						if err != nil || len(items) > tc.limit || (next != nil && len(items) != tc.limit) {
							t.Fatalf("page %d: %d items, next %v, %v", pages, len(items), next, err)
						}
						got = append(got, items...)
						if next == nil {
							break
						}
						after = *next
					}
					if !slices.Equal(got, want) {
						t.Errorf("app %q: listed %d channels, want %d", app, len(got), len(want))
					}
				}
			})
		})
	}
}

// One partition that does not answer, and there is no list at all.
func TestListIsNeverPartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLibrary(t, 16, 100)
		defer l.g.Close()
		l.silent[11] = true
		items, _, err := l.g.List(t.Context(), "", channel.Position{}, "", 1000)
		if info := protocol.AsError(err); info == nil || info.Code != 50003 || items != nil {
			t.Errorf("%d items, %v", len(items), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err = l.g.List(ctx, "", channel.Position{}, "", 1000); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
