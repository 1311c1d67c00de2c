package config

import (
	"net"
	"strings"
	"time"

	"innkeeper/transport/meter"
)

// DefaultTargetTimeout bounds one request to a target. It must stay below a leader's lease: a request of a leader that
// was replaced meanwhile must not land after its successor's.
const DefaultTargetTimeout = 3 * time.Second

// What a target is sent when it does not say otherwise. One that needs the order of all events of a rule, not only that of
// each channel, asks for one lane.
const (
	DefaultLanes     = 8
	DefaultBatchSize = 100
	DefaultLinger    = 5 * time.Millisecond
)

// leaseTTL is the bound for target timeouts; it is how long a member may act without hearing from the leader.
const leaseTTL = 4 * time.Second

// Default is the configuration of a node that was told nothing: a cluster of one without apps.
func Default() Config {
	return Config{
		Node: Node{
			DataDir:         "./data",
			Listen:          "127.0.0.1:8080",
			AdminListen:     "127.0.0.1:8180",
			ClusterListen:   "127.0.0.1:7900",
			GossipListen:    "127.0.0.1:7910",
			BootstrapExpect: 1,
			DrainTimeout:    10 * time.Second,
			DrainSpread:     3 * time.Second,
		},
		StateEvents: StateEvents{
			VacatedDelay: 5 * time.Second, RestartGrace: 30 * time.Second,
			Retention: 1_000_000, RetentionMax: 4_000_000, RetentionMaxBytes: 512 << 20,
		},
		Channels: Channels{IdleClose: time.Minute, OccupancyInterval: time.Second, PresenceMembers: 200, Retention: 2 * time.Minute},
		Limits:   Limits{NewApps: map[string]map[string]int{}},
		Meter: Meter{
			Minutes: meter.DefaultRetention[meter.Minute], Hours: meter.DefaultRetention[meter.Hour],
			Days: meter.DefaultRetention[meter.Day], Months: meter.DefaultRetention[meter.Month],
		},
		Cluster: Cluster{Partitions: 128, TrustRefused: new(true)},
		Log:     Log{Level: "info", Format: "text"},
	}
}

// fillLists sets the defaults inside apps, where there is no struct to start from before the list is read.
func fillLists(cfg *Config) {
	for a := range cfg.Apps {
		app := &cfg.Apps[a]
		for k := range app.Keys {
			if app.Keys[k].Capability == nil {
				app.Keys[k].Capability = map[string][]string{"*": {"*"}}
			}
		}
		for n := range app.Namespaces {
			if app.Namespaces[n].OccupiedBy == "" {
				app.Namespaces[n].OccupiedBy = "subscribers"
			}
		}
		for r := range app.Rules {
			app.Rules[r].Target.fill()
		}
	}
}

// fill sets the defaults of a target.
func (t *Target) fill() {
	if t.Format == "" {
		t.Format = "innkeeper"
		if t.grpc() {
			t.Format = "centrifugo"
		}
	}
	preset(&t.Timeout, DefaultTargetTimeout)
	preset(&t.Lanes, DefaultLanes)
	preset(&t.BatchSize, DefaultBatchSize)
	preset(&t.Linger, DefaultLinger)
}

// preset sets what was not given.
func preset[T any](to **T, value T) {
	if *to == nil {
		*to = &value
	}
}

// expect is the default of bootstrap_expect: a node that knows of nobody else founds a cluster of its own; one that
// does must not, or a wrong address would make two clusters where one was meant.
func (n *Node) expect() int {
	if len(n.others()) == 0 {
		return 1
	}
	return 0
}

// others are the join addresses that are not this node's own.
func (n *Node) others() []string {
	var others []string
	for _, addr := range n.Join {
		if !sameAddr(addr, n.GossipListen) && !sameAddr(addr, n.GossipAdvertise) {
			others = append(others, addr)
		}
	}
	return others
}

// sameAddr tells whether an address to join is surely the own one. It compares text and resolves nothing.
func sameAddr(join, own string) bool {
	jh, jp, err := net.SplitHostPort(join)
	if err != nil {
		return false
	}
	oh, op, err := net.SplitHostPort(own)
	if err != nil || jp != op {
		return false
	}
	return hostKey(jh) == hostKey(oh) || isWildcard(oh) && hostKey(jh) == "loopback"
}

func hostKey(host string) string {
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		if ip != nil && ip.To4() != nil && ip.String() != "127.0.0.1" {
			return ip.String() // 127.0.0.2 and its like are hosts of their own in tests
		}
		return "loopback"
	}
	return strings.ToLower(host)
}

func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}
