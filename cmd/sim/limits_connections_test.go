package sim

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// crowd is bare connections that stay open and say nothing.
type crowd struct {
	s   *Sim
	web *http.Client

	mu   sync.Mutex
	open []seat
	wg   sync.WaitGroup
}

// seat is a connection at a node.
type seat struct {
	ws   *websocket.Conn
	node int
}

// come opens connections at a node each, all at once. It returns how many were let in, and the others by their codes.
func (c *crowd) come(nodes []int) (in int, refused map[int]int) {
	refused = map[int]int{}
	var all sync.WaitGroup
	for _, node := range nodes {
		all.Go(func() {
			ws, code := c.dial(node)
			c.mu.Lock()
			defer c.mu.Unlock()
			if ws == nil {
				refused[code]++
				return
			}
			in++
			c.open = append(c.open, seat{ws, node})
			c.wg.Go(func() { // answers pings, until it is closed
				for ctx := context.Background(); ; {
					if _, _, err := ws.Read(ctx); err != nil {
						return
					}
				}
			})
		})
	}
	all.Wait()
	return in, refused
}

// dial opens a connection; nil with the code of the error, or 0 where nobody answered.
func (c *crowd) dial(node int) (*websocket.Conn, int) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	address := "ws://" + c.s.Addresses()[node] + "/?" + url.Values{"v": {"6"}, "format": {"json"}, "key": {Key}}.Encode()
	ws, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: c.web, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, 0
	}
	var f frame
	if err := read(ctx, ws, &f); err != nil {
		ws.CloseNow()
		return nil, 0
	}
	if f.Error != nil {
		ws.CloseNow()
		return nil, f.Error.Code
	}
	return ws, 0
}

// leave closes n connections, all of them with a negative n.
func (c *crowd) leave(n int) {
	c.mu.Lock()
	if n < 0 {
		n = len(c.open)
	}
	going := c.open[:n]
	c.open = c.open[n:]
	c.mu.Unlock()
	for _, one := range going {
		one.ws.CloseNow()
	}
}

// at is how many are at a node.
func (c *crowd) at(node int) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.open {
		if one.node == node {
			n++
		}
	}
	return n
}

// TestConnectionLimitOnThreeNodes is TestHardLimitOnThreeNodes with connections: far more come than may be, to all nodes at
// once. Exactly the limit are let in, the others are told why and counted; who leaves makes room; and when the leader dies,
// those it held make room and no more come in.
func TestConnectionLimitOnThreeNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(29, Options{Clients: -1, NoHooks: true, Hasty: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		awaitEven(t, s)
		const hard, tries, limited = 60, 200, 40150
		steer(t, s, 0, "PATCH", "/apps/"+App+"/limits", fmt.Sprintf(`{"connections":{"hard":%d}}`, hard))
		time.Sleep(time.Second)
		c := &crowd{s: s, web: httpClient(s.Net.Host("10.9.9.7"), false)}
		defer c.wg.Wait()
		defer c.leave(-1)
		spread := func(n int, nodes ...int) (list []int) {
			for i := range n {
				list = append(list, nodes[i%len(nodes)])
			}
			return list
		}
		in, refused := c.come(spread(tries, 0, 1, 2))
		if in != hard || refused[limited] != tries-hard {
			t.Errorf("of %d with a limit of %d: %d let in, %v refused; want the limit, and all others refused with %d", tries, hard, in, refused, limited)
		}
		// Figures are committed every five seconds at least.
		var open, counted float64
		if !await(8*time.Second, 100*time.Millisecond, func() bool {
			figures := stats(t, s, 1, "minute")
			open, counted = peak(figures, "connections.all.peak"), total(figures, "connections.all.refused")
			return open == hard && counted == tries-hard
		}) {
			t.Errorf("%v were open at once, want %d; %v were counted as refused, want %d", open, hard, counted, tries-hard)
		}

		c.leave(10)
		time.Sleep(2 * time.Second)
		if in, refused := c.come(spread(30, 2, 1)); in != 10 || refused[limited] != 20 {
			t.Errorf("10 left and 30 came: %d let in, %v refused", in, refused)
		}

		leader := s.Leader()
		held := 0
		for i, n := range s.Nodes() {
			if n == leader {
				held = i
			}
		}
		before := c.at(held)
		leader.Kill(true)
		time.Sleep(8 * time.Second)
		if !await(time.Minute, 100*time.Millisecond, func() bool { return s.Leader() != nil }) {
			t.Fatal("no leader")
		}
		time.Sleep(3 * time.Second)
		others := spread(tries, (held+1)%3, (held+2)%3)
		if in, refused := c.come(others); in != before || refused[limited] != tries-before {
			t.Errorf("a node with %d connections died and %d came: %d let in, %v refused", before, tries, in, refused)
		}
		leader.Start()
		awaitEven(t, s)
		time.Sleep(3 * time.Second)
		if in, refused := c.come(spread(30, 0, 1, 2)); in != 0 {
			t.Errorf("%d more were let in beyond the limit, %v refused", in, refused)
		}
		steer(t, s, 1, "PATCH", "/apps/"+App+"/limits", fmt.Sprintf(`{"connections":{"hard":%d}}`, hard+15))
		time.Sleep(time.Second)
		if in, _ := c.come(spread(50, 0, 1, 2)); in != 15 {
			t.Errorf("with 15 more %d were let in", in)
		}
	})
}
