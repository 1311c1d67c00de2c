package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTwins: of two processes on copies of one data directory the one goes on that was there first, whoever asks.
func TestTwins(t *testing.T) {
	for _, tc := range []struct {
		name   string
		member bool   // this one is
		boot   string // that asks; this one is b1
		want   refusal
		yields bool
	}{
		{"no members, the other is later", false, "b2", refusedDuplicate, false},
		{"no members, the other was earlier", false, "b0", refusedClosed, true},
		{"a member, the other is later", true, "b2", refusedDuplicate, false},
		{"a member, the other has another clock", true, "b0", refusedDuplicate, false},
		{"it is this boot itself, at another address", false, "b1", refusedDuplicate, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.end()
				var yielded *TwinError
				w.tweak = func(c *Config) { c.OnTwin = func(err *TwinError) { yielded = err } }
				var n *testNode
				if tc.member {
					w.cluster(1)
					n = w.nodes["n1"]
				} else {
					n = w.start("n1", 0)
				}
				conn, err := dialService(t.Context(), w.net.host("10.0.0.9"), "10.0.0.1:7901", serviceLink)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				writeHello(conn, welcome, hello{
					version: protocolVersion, clusterID: n.clusterID(), from: Peer{"n1", tc.boot}, addr: "10.0.0.9:7901", want: "n1",
				})
				r, h, err := readHello(conn)
				if err != nil || r != tc.want || h.from != n.me {
					t.Errorf("answers %v, %+v, %v; want %v", r, h, err, tc.want)
				}
				if (yielded != nil) != tc.yields {
					t.Errorf("yielded %v, want it to yield: %v", yielded, tc.yields)
				}
			})
		})
	}
}

// TestFormerBootIsNoTwin: what is left of a boot that is over keeps nobody from serving, at whatever address it was.
func TestFormerBootIsNoTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.cluster(3)
		w.nodes["n3"].kill()
		w.startAs("n3", "n8", 3)
		w.await(10*time.Second, "it serves at another address", func() bool { return w.serving("n1", "n2", "n3") })
	})
}

// TestNobodyAnswers: a node that reaches none of those it should join can say which.
func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		n := w.start("n3", 0)
		w.await(10*time.Second, "word of it", func() bool { return len(n.Unanswered()) == 2 })
		w.start("n1", 1)
		w.await(30*time.Second, "it joins", func() bool { return w.serving("n1", "n3") })
		if got := n.Unanswered(); len(got) != 0 {
			t.Errorf("still %v", got)
		}
	})
}
