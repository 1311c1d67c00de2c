package node

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"innkeeper/raftstore"
)

// TestListenRemedies: what is advised fits what is wrong.
func TestListenRemedies(t *testing.T) {
	for name, test := range map[string]struct {
		addr, cause, remedy string
	}{
		"not of this machine": {"203.0.113.7:7999", "cannot assign requested address", "does not have that address"},
		"no such host":        {"nowhere.invalid:7999", "nowhere.invalid", "no address is known for nowhere.invalid"},
	} {
		for _, place := range []string{"node.admin_listen", "node.gossip_listen"} {
			cfg := settings(t.TempDir())
			if cfg.Node.AdminListen = test.addr; place == "node.gossip_listen" {
				cfg.Node.AdminListen, cfg.Node.GossipListen = "127.0.0.1:0", test.addr
			}
			err := startError(t, cfg)
			says(t, err, place+": cannot listen on "+test.addr, test.cause, test.remedy)
			if strings.Contains(err.Error(), "another process") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestListenRemedyOfALowPort(t *testing.T) {
	err := &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EACCES)}
	if got := listenRemedy(err); !strings.Contains(got, "may not use that port") {
		t.Errorf("%v: %s", err, got)
	}
}

// TestRaftGoesByTheAdvertisedAddress: on a wildcard all nodes listen at the same address, by which Raft could not tell its
// leader from who wants to be one.
func TestRaftGoesByTheAdvertisedAddress(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Node.ClusterAdvertise = freeAddr(t)
	_, port, _ := net.SplitHostPort(cfg.Node.ClusterAdvertise)
	cfg.Node.ClusterListen = "0.0.0.0:" + port
	log := newLogs()
	var told string
	n, err := New(Options{Config: cfg, Logger: log.logger(), Log: func(c *raftstore.Config) { told = c.Advertise }})
	if err != nil {
		t.Fatal(err)
	}
	r := launch(t, n, log).ready()
	if told != cfg.Node.ClusterAdvertise {
		t.Errorf("raft is at %s, want %s", told, cfg.Node.ClusterAdvertise)
	}
	if servers := r.boot.Load().store.Servers(); len(servers) != 1 || servers[0].Addr != told {
		t.Errorf("the log has %+v, want %s", servers, told)
	}
}
