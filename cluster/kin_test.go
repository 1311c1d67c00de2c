package cluster

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// A leader of another cluster must not reach this node's Raft, which would give up its log for a higher term.
func TestRaftHearsItsOwnClusterOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a := p.open("n1", "b1", "mine", nil)
		log := &strings.Builder{}
		c := &Cluster{log: slog.New(slog.NewTextHandler(log, nil)), mux: a.mux}
		c.id.Store(new("mine"))
		l := c.RaftListener()
		dial := func(cluster string) {
			t.Helper()
			from := &Cluster{cfg: Config{Net: p.net.host("10.0.0.9")}}
			if cluster != "" {
				from.id.Store(&cluster)
			}
			conn, err := from.DialRaft(t.Context(), "10.0.0.1:7901")
			if err != nil {
				t.Fatal(err)
			}
			conn.Write([]byte(cluster + "!")) // a stranger may find itself cut off
			conn.Close()
		}
		for _, cluster := range []string{"theirs", "mine", "theirs", ""} {
			dial(cluster)
			synctest.Wait() // one after another
		}
		for _, want := range []string{"mine!", "!"} {
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(conn); string(got) != want {
				t.Errorf("Raft hears %q, want %q", got, want)
			}
			conn.Close()
		}
		if n := strings.Count(log.String(), "cluster=theirs here=mine"); n != 1 || c.count.linksRefused.Load() != 2 {
			t.Errorf("%d lines for %d strangers: %s", n, c.count.linksRefused.Load(), log)
		}
	})
}
