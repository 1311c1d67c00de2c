package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAddressSteps(t *testing.T) {
	for name, tc := range map[string]struct {
		servers string // node@address, + for a voter
		want    string
		steps   string
		stuck   int
	}{
		"nothing to do":                  {"a@1+ b@2", "a@1 b@2", "", 0},
		"missing":                        {"a@1+", "a@1 b@2 c@3", "[place b at 2 place c at 3]", 0},
		"who moved comes first":          {"a@1+ z@2+", "a@1 b@4 z@3", "[place z at 3 place b at 4]", 0},
		"nobody in the way":              {"a@1+ b@2", "a@1 c@2", "[remove b]", 0},
		"a dead voter in the way":        {"a@1+ b@2+", "a@1 c@2 d@4", "[place d at 4]", 1},
		"at the address that one leaves": {"a@1+ b@2+ c@3+", "a@2 b@4 c@3", "[place b at 4]", 1},
		"changed places":                 {"a@1+ b@2+ c@3+", "a@2 b@1 c@3", "[place b at moving/b place a at moving/a]", 0},
		"in a ring":                      {"a@1+ b@2+ c@3+", "a@2 b@3 c@1", "[place b at moving/b place c at moving/c place a at moving/a]", 0},
		"behind those that changed":      {"a@1+ b@2+", "a@2 b@1 c@1", "[place b at moving/b place a at moving/a]", 1},
		"one on the move":                {"a@1+ b@moving/b+", "a@2 b@1", "[place a at 2]", 1},
		"two at one address":             {"a@1+ b@2+ c@3+", "a@3 b@3 c@3", "", 2},
	} {
		var servers []Server
		for s := range strings.FieldsSeq(tc.servers) {
			id, addr, _ := strings.Cut(s, "@")
			addr, voter := strings.CutSuffix(addr, "+")
			servers = append(servers, Server{id, addr, voter})
		}
		want := map[string]string{}
		for s := range strings.FieldsSeq(tc.want) {
			id, addr, _ := strings.Cut(s, "@")
			want[id] = addr
		}
		steps, stuck := addressSteps(servers, want, func(s Server) bool { return !s.Voter && want[s.ID] == "" })
		if got := fmt.Sprint(steps); got != tc.steps && (len(steps) > 0 || tc.steps != "") {
			t.Errorf("%s: %s, want %s", name, got, tc.steps)
		}
		if len(stuck) != tc.stuck {
			t.Errorf("%s: stuck are %q, want %d", name, stuck, tc.stuck)
		}
	}
}

// servedAt says whether the log has a node as a server at an address.
func (w *world) servedAt(node, addr string) bool {
	w.raft.mu.Lock()
	defer w.raft.mu.Unlock()
	return slices.ContainsFunc(w.raft.servers, func(s Server) bool { return s.ID == node && s.Addr == addr })
}

// A newcomer at the address of a dead voter waits for its removal. Nobody else waits for it.
func TestNewcomerAtADeadVotersAddress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		w.nodes["n3"].kill()
		delete(w.nodes, "n3")
		w.await(15*time.Second, "n1 and n2 serve", func() bool { return w.serving("n1", "n2") })
		n4 := w.startAs("n4", "n3", 0)
		time.Sleep(5 * time.Second)
		w.start("n5", 0)
		w.await(15*time.Second, "n5 serves", func() bool { return w.serving("n1", "n2", "n5") })
		if w.servedAt("n4", n4.cfg.ClusterAdvertise) || n4.LeaseHeld() {
			t.Error("n4 serves at the address of a voter")
		}
		w.raft.mu.Lock()
		w.raft.servers = slices.DeleteFunc(slices.Clone(w.raft.servers), func(s Server) bool { return s.ID == "n3" })
		w.raft.mu.Unlock()
		w.await(15*time.Second, "n4 serves too", func() bool { return w.serving("n1", "n2", "n4", "n5") })
	})
}

// A step that the log refuses leaves the turn to the next.
func TestRefusedServerStep(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start("n1", 1)
		w.await(5*time.Second, "n1 serves", func() bool { return w.serving("n1") })
		w.raft.mu.Lock()
		w.raft.refuse = "n2"
		w.raft.mu.Unlock()
		w.start("n2", 0)
		time.Sleep(5 * time.Second)
		w.start("n3", 0)
		w.await(15*time.Second, "n3 serves", func() bool { return w.serving("n1", "n3") })
	})
}

// Two nodes that come back at each other's address are found there, by the log as well.
func TestNodesChangePlaces(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(5)
		for _, id := range []string{"n4", "n5"} {
			w.nodes[id].kill()
			delete(w.nodes, id)
		}
		n4, n5 := w.startAs("n4", "n5", 5), w.startAs("n5", "n4", 5)
		w.await(20*time.Second, "the log knows both", func() bool {
			return w.servedAt("n4", n4.cfg.ClusterAdvertise) && w.servedAt("n5", n5.cfg.ClusterAdvertise)
		})
		w.await(10*time.Second, "all serve", func() bool { return w.serving("n1", "n2", "n3", "n4", "n5") })
	})
}
