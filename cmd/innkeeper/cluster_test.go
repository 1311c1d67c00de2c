package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"innkeeper/cluster"
	"innkeeper/transport/dispatch"
)

// fakeAdmin serves what an admin API shows.
func fakeAdmin(t *testing.T, s cluster.Status, rules dispatch.Status) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	for path, v := range map[string]any{"/cluster": &s, "/rules": &rules} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(v) })
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func someStatus(leadersAdmin string) cluster.Status {
	return cluster.Status{
		Node: "n1", Boot: "b1", ClusterID: "c0ffee", Leader: "n2", Term: 7, LeaseMs: 3500, Version: 12,
		Members: []cluster.MemberStatus{
			{Node: "n1", State: "alive", Owned: 2, Link: "self", Gossips: true, Client: "10.0.0.1:8080", Admin: "10.0.0.1:8180", Cluster: "10.0.0.1:7900"},
			{Node: "n2", State: "alive", Owned: 1, Link: "up", Gossips: true, Admin: leadersAdmin, Cluster: "127.0.0.1:7900"},
			{Node: "n3", State: "dead", Link: "down"},
		},
		Servers: []cluster.ServerStatus{{Node: "n1", Voter: true}, {Node: "n2", Voter: true}, {Node: "n3", Voter: true}, {Node: "n4"}},
		Table: []cluster.SlotStatus{
			{Partition: 0, Owner: "n1", Follower: "n2", Epoch: 3}, {Partition: 1, Owner: "n2", Follower: "n1", Epoch: 1},
			{Partition: 2, Owner: "n1", Epoch: 9}, {Partition: 3},
		},
	}
}

// lines are the lines of a table with runs of blanks made one, as far as columns are not what is looked at.
func lines(out string) []string {
	var list []string
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		list = append(list, strings.Join(strings.Fields(line), " "))
	}
	return list
}

func expectLines(t *testing.T, out string, want ...string) {
	t.Helper()
	got := lines(out)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestClusterTables(t *testing.T) {
	admin := fakeAdmin(t, someStatus("10.0.0.2:8180"), dispatch.Status{}).URL
	show := func(args ...string) string {
		t.Helper()
		code, out, errs := command(append(append([]string{"cluster"}, args...), "--admin", admin)...)
		if code != exitOK {
			t.Fatalf("%v: code %d, %s", args, code, errs)
		}
		return out
	}
	expectLines(t, show("status"),
		"cluster c0ffee", "seen by n1 (boot b1)", "leader n2 (term 7)", "lease of this node held, 3.5s left", "members 2 alive, 1 dead",
		"log 4 servers, 3 vote, 1 of these not seen, 0 may fail", "links from this node down 0",
		"partitions 4, 1 without an owner, 2 without a copy (table version 12)")
	expectLines(t, show("members"),
		"NODE STATE LOG PARTITIONS LINK GOSSIP CLIENTS ADMIN CLUSTER",
		"n1 alive votes 2 self seen 10.0.0.1:8080 10.0.0.1:8180 10.0.0.1:7900",
		"n2 alive leads 1 up seen - 10.0.0.2:8180 127.0.0.1:7900",
		"n3 dead votes 0 down silent - - -")
	expectLines(t, show("partitions"), "PARTITION OWNER COPY EPOCH", "0 n1 n2 3", "1 n2 n1 1", "2 n1 - 9", "3 - - 0")
	expectLines(t, show("partitions", "--node", "n2"), "PARTITION OWNER COPY EPOCH", "0 n1 n2 3", "1 n2 n1 1")
	var s cluster.Status
	if err := json.Unmarshal([]byte(show("members", "--json")), &s); err != nil || s.ClusterID != "c0ffee" {
		t.Errorf("--json: %v", err)
	}
}

// TestMargin: what may fail is counted from the voters that live, as the node that is asked sees them.
func TestMargin(t *testing.T) {
	type who struct {
		node, state, link string
		votes             bool
	}
	self := who{"a", "alive", "self", true}
	up := func(node string) who { return who{node, "alive", "up", true} }
	for _, test := range []struct {
		name    string
		members []who
		want    string
	}{
		{"alone", []who{self}, "1 servers, 1 vote, 0 may fail"},
		{"three", []who{self, up("b"), up("c")}, "3 servers, 3 vote, 1 may fail"},
		{"one that has no vote does not count", []who{self, up("b"), up("c"), {"d", "alive", "up", false}}, "4 servers, 3 vote, 1 may fail"},
		{"one dead", []who{self, up("b"), {"c", "dead", "down", true}}, "3 servers, 3 vote, 1 of these not seen, 0 may fail"},
		{"one gone that nobody has buried", []who{self, up("b"), {"c", "alive", "refused", true}}, "3 servers, 3 vote, 1 of these not seen, 0 may fail"},
		{"two gone", []who{self, {"b", "alive", "down", true}, {"c", "dead", "down", true}}, "3 servers, 3 vote, 2 of these not seen: no majority, 1 must come back"},
		{"one that hangs", []who{self, up("b"), {"c", "dead", "up", true}}, "3 servers, 3 vote, 1 of these not seen, 0 may fail"},
		{"one that leaves votes to the end", []who{self, up("b"), {"c", "leaving", "up", true}}, "3 servers, 3 vote, 1 may fail"},
		{"one that comes back", []who{self, up("b"), {"c", "dead", "up", true}, {"c", "joining", "up", false}}, "3 servers, 3 vote, 1 may fail"},
		{"two of five gone", []who{self, up("b"), up("c"), {"d", "dead", "down", true}, {"e", "dead", "down", true}}, "5 servers, 5 vote, 2 of these not seen, 0 may fail"},
		{"nothing known yet", nil, "0 servers, 0 vote, 0 may fail"},
	} {
		var s cluster.Status
		for _, m := range test.members {
			s.Members = append(s.Members, cluster.MemberStatus{Node: m.node, State: m.state, Link: m.link})
			if m.state != "joining" {
				s.Servers = append(s.Servers, cluster.ServerStatus{Node: m.node, Voter: m.votes})
			}
		}
		if got := margin(s); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// The node that is asked does not lead, and listens on all addresses, as the leader does: its table comes from the leader,
// found by the host at which the cluster reaches it.
func TestClusterRulesAreTheLeaders(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	leader := fakeAdmin(t, cluster.Status{}, dispatch.Status{Leading: true, Rules: []dispatch.RuleStatus{
		{
			App: "demo", Rule: "state", Format: "innkeeper", Cursor: 10, Last: 12, Lag: 2, LagSeconds: 61.26, Sent: 9, Attempts: 5, Failures: 3, Held: 2,
			InBackoff: true, LastError: "answered 500:\n\"no\"", ErrorTime: at,
		},
		{App: "demo", Rule: "calm", Format: "centrifugo", Cursor: 12, Last: 12, Sent: 1, Attempts: 1},
	}})
	_, port, _ := strings.Cut(leader.Listener.Addr().String(), ":")
	idle := dispatch.Status{Rules: []dispatch.RuleStatus{{App: "demo", Rule: "state", Format: "innkeeper", Cursor: 10, Last: 12, Lag: 2}}}
	follower := fakeAdmin(t, someStatus("[::]:"+port), idle)
	head := "APP RULE FORMAT STATE CURSOR LAST BEHIND OLDEST SENT REQUESTS FAILED LAST ERROR"
	for _, admin := range []string{leader.URL, follower.URL, follower.Listener.Addr().String()} {
		code, out, errs := command("cluster", "rules", "--admin", admin)
		if code != exitOK {
			t.Fatalf("code %d, %s", code, errs)
		}
		expectLines(t, out, head,
			`demo state innkeeper failing 10 12 2 1m1.3s 9 5 3 2026-01-02T03:04:05Z: answered 500: "no"`,
			"demo calm centrifugo idle 12 12 0 - 1 1 0 -")
	}
	leader.Close()
	_, out, _ := command("cluster", "rules", "--admin", follower.URL)
	if got := lines(out); !strings.HasPrefix(got[0], "no leader could be asked") || got[2] != "demo state innkeeper unknown 10 12 2 - 0 0 0 -" {
		t.Errorf("without a leader:\n%s", out)
	}
}

func TestClusterWithoutANode(t *testing.T) {
	if code, _, errs := command("cluster", "status", "--admin", "127.0.0.1:1"); code != exitRefused || !strings.Contains(errs, "is a node listening there?") {
		t.Errorf("code %d, %s", code, errs)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }))
	defer web.Close()
	if code, _, errs := command("cluster", "status", "--admin", web.URL); code != exitRefused || !strings.Contains(errs, "is it the admin address?") {
		t.Errorf("code %d, %s", code, errs)
	}
	if code, _, errs := command("cluster", "status", "--admin", "ftp://x"); code != exitUsage || !strings.Contains(errs, "--admin") {
		t.Errorf("code %d, %s", code, errs)
	}
}
