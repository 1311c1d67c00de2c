package config

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"innkeeper/cluster/ring"
)

// Bounds of what can be set.
const (
	maxBootstrapExpect   = 15
	maxMessageRetention  = time.Hour        // messages are kept in memory
	maxPresenceMembers   = 100_000          // every client that attaches is told of all of them
	maxOccupancyInterval = 15 * time.Second // clients are promised to converge within it
	minRetention         = 1000
	maxRetention         = 100_000_000
	minRetentionBytes    = 1 << 20
)

// checker says what values cannot mean anything, or not together. A key that could not be decoded is left alone.
type checker struct {
	*problems
	cfg *Config
}

func (c checker) all() {
	c.node()
	c.apps()
	c.durations()
	c.cluster()
	c.limits()
	c.meter()
	c.admin()
	c.oneOf("log.level", c.cfg.Log.Level, "debug", "info", "warn", "error")
	c.oneOf("log.format", c.cfg.Log.Format, "text", "json")
}

// bad adds a problem unless the key has one already.
func (c checker) bad(key, format string, args ...any) {
	if !c.has(key) {
		c.add(key, format, args...)
	}
}

func (c checker) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.bad(key, "%q is not known; it must be %s", value, or(allowed))
	}
}

func (c checker) node() {
	n := &c.cfg.Node
	if strings.TrimSpace(n.DataDir) == "" {
		c.bad("node.data_dir", "is empty; name a directory that survives restarts, such as ./data/n1")
	}
	c.listeners()
	c.advertise("node.cluster_advertise", n.ClusterAdvertise, "node.cluster_listen", n.ClusterListen)
	c.advertise("node.gossip_advertise", n.GossipAdvertise, "node.gossip_listen", n.GossipListen)
	seen := map[string]bool{}
	for i, addr := range n.Join {
		key := fmt.Sprintf("node.join[%d]", i)
		if _, port, ok := c.address(key, addr); ok {
			if port == 0 {
				c.bad(key, "%q names no port; give the gossip port of that node", addr)
			}
			if seen[addr] {
				c.bad(key, "%q is listed twice; remove one", addr)
			}
			seen[addr] = true
		}
	}
	c.bootstrap()
}

func (c checker) listeners() {
	n := &c.cfg.Node
	taken := map[string]string{}
	for _, l := range []struct{ key, addr string }{
		{"node.listen", n.Listen}, {"node.admin_listen", n.AdminListen},
		{"node.cluster_listen", n.ClusterListen}, {"node.gossip_listen", n.GossipListen},
	} {
		_, port, ok := c.address(l.key, l.addr)
		if !ok || port == 0 {
			continue
		}
		if other := taken[l.addr]; other != "" {
			c.bad(l.key, "%q is also %s; each listener needs an address of its own", l.addr, other)
		}
		taken[l.addr] = l.key
	}
}

// advertise checks what others are told. A wildcard is an address to listen on, not one to reach a node at.
func (c checker) advertise(key, addr, listenKey, listen string) {
	if addr == "" {
		if host, _, err := net.SplitHostPort(listen); err == nil && isWildcard(host) {
			c.bad(key, "is not set, but %s %q listens on all addresses and cannot be told to other nodes; set it to the host and port at which they reach this node", listenKey, listen)
		}
		return
	}
	host, port, ok := c.address(key, addr)
	switch {
	case !ok:
	case isWildcard(host):
		c.bad(key, "%q is no address that others can reach; give this node's own host name or IP", addr)
	case port == 0:
		c.bad(key, "%q names no port; give the one at which others reach this node", addr)
	}
}

// address parses host:port.
func (c checker) address(key, addr string) (host string, port int, ok bool) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		c.bad(key, "%q is not an address; it must be host:port, such as 127.0.0.1:8080 or [::1]:8080", addr)
		return "", 0, false
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		c.bad(key, "%q has the port %q; it must be a number from 0 to 65535", addr, text)
		return "", 0, false
	}
	if strings.ContainsAny(host, " /\t") {
		c.bad(key, "%q has the host %q; it must be a name or an IP, without scheme or path", addr, host)
		return "", 0, false
	}
	return host, port, true
}

func (c checker) bootstrap() {
	const key = "node.bootstrap_expect"
	n := &c.cfg.Node
	if c.has("node.join") || c.has("node.gossip_listen") {
		return
	}
	others := n.others()
	switch {
	case n.BootstrapExpect < 0 || n.BootstrapExpect > maxBootstrapExpect:
		c.bad(key, "%d is out of range; it must be from 0 to %d", n.BootstrapExpect, maxBootstrapExpect)
	case n.BootstrapExpect == 1 && len(others) > 0:
		c.bad(key, "1 would found a cluster of this node alone although join names %s: two clusters where one was meant; remove bootstrap_expect to join them, or set it to the number of nodes that found the cluster together", and(others))
	case n.BootstrapExpect == 0 && len(others) == 0:
		c.bad(key, "0 means to join a running cluster, but join names no other node; add the gossip address of one, or set it to 1 to found a cluster of this node alone")
	}
}

func (c checker) durations() {
	s, ch := &c.cfg.StateEvents, &c.cfg.Channels
	c.delay("state_events.vacated_delay", s.VacatedDelay)
	c.delay("node.drain_timeout", c.cfg.Node.DrainTimeout)
	c.delay("node.drain_spread", c.cfg.Node.DrainSpread)
	c.delay("state_events.restart_grace", s.RestartGrace)
	c.delay("channels.idle_close", ch.IdleClose)
	c.delay("channels.occupancy_interval", ch.OccupancyInterval)
	if ch.OccupancyInterval > maxOccupancyInterval {
		c.bad("channels.occupancy_interval", "%v is too long; it must be from 0s to %v", ch.OccupancyInterval, maxOccupancyInterval)
	}
	c.members("channels.presence_members", ch.PresenceMembers)
	if ch.Retention < 0 || ch.Retention > maxMessageRetention {
		c.bad("channels.retention", "%v is out of range; it must be from 0s to %v", ch.Retention, maxMessageRetention)
	}
	if s.Retention < minRetention || s.Retention > maxRetention {
		c.bad("state_events.retention", "%d is out of range; it must be from %d to %d events", s.Retention, minRetention, maxRetention)
	}
	if s.RetentionMax < s.Retention || s.RetentionMax > maxRetention {
		c.bad("state_events.retention_max", "%d is out of range; it must be from %d (state_events.retention) to %d events", s.RetentionMax, s.Retention, maxRetention)
	}
	if s.RetentionMaxBytes < minRetentionBytes {
		c.bad("state_events.retention_max_bytes", "%d is too little; it must be %d or more", s.RetentionMaxBytes, minRetentionBytes)
	}
	c.delay("state_events.retention_age", s.RetentionAge)
}

func (c checker) delay(key string, d time.Duration) {
	if d < 0 {
		c.bad(key, "%v is negative; it must be 0s or more", d)
	}
}

func (c checker) cluster() {
	cl := &c.cfg.Cluster
	if ring.CheckPartitions(cl.Partitions) != nil {
		c.bad("cluster.partitions", "%d is no number of partitions; it must be a power of two from %d to %d, and 128 suits most clusters",
			cl.Partitions, ring.PartitionsMin, ring.PartitionsMax)
	}
	if strings.ContainsAny(cl.ID, " \t\r\n") {
		c.bad("cluster.id", "%q holds white space; copy the id as the node shows it", cl.ID)
	}
}

func (c checker) apps() {
	if len(c.cfg.Apps) == 0 {
		c.bad("apps", `is empty, so no client could connect; add an app, such as {id: demo, keys: [{key: "demo.root:secret", capability: {"[*]*": ["*"]}}]}`)
	}
	seen := map[string]int{}
	for i := range c.cfg.Apps {
		app, at := &c.cfg.Apps[i], fmt.Sprintf("apps[%d]", i)
		if c.id(at+".id", app.ID, "app") {
			if first, ok := seen[app.ID]; ok {
				c.bad(at+".id", "%q is also the id of apps[%d]; ids of apps must differ", app.ID, first)
			} else {
				seen[app.ID] = i
			}
		}
		c.keys(at, app)
		c.namespaces(at, app)
		c.rules(at, app)
	}
}

// idForm is what an id may be: it stands in keys, in URLs and in the hash of a channel.
var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (c checker) id(key, id, what string) bool {
	if idForm.MatchString(id) {
		return true
	}
	if id == "" {
		c.bad(key, "is missing; every %s needs an id", what)
	} else {
		c.bad(key, "%q is not an id; it must be 1 to 64 letters, digits, - or _", id)
	}
	return false
}

func (c checker) keys(at string, app *App) {
	if len(app.Keys) == 0 {
		c.bad(at+".keys", "is empty, so no client of app %q could connect; add a key, such as %q", app.ID, cmp.Or(app.ID, "demo")+".root:a-long-secret")
	}
	seen := map[string]int{}
	for i := range app.Keys {
		k, at := &app.Keys[i], fmt.Sprintf("%s.keys[%d]", at, i)
		name := c.key(at+".key", k.Key, app.ID)
		if first, ok := seen[name]; name != "" && ok {
			c.bad(at+".key", "%q is also the name of keys[%d]; names of keys must differ", name, first)
		} else {
			seen[name] = i
		}
		c.capability(at+".capability", k.Capability)
	}
}

// key checks "appId.keyId:secret" and returns the part before the colon, "" when it is unusable. The secret is never
// repeated.
func (c checker) key(at, key, app string) string {
	const form = "it must be appId.keyId:secret"
	name, secret, ok := strings.Cut(key, ":")
	appID, keyID, dotted := strings.Cut(name, ".")
	switch {
	case key == "":
		c.bad(at, "is missing; %s", form)
	case !ok:
		c.bad(at, "has no colon before the secret; %s", form)
	case !dotted:
		c.bad(at, "%q has no dot between app and key; %s", name, form)
	case !idForm.MatchString(appID) || !idForm.MatchString(keyID):
		c.bad(at, "%q is not the name of a key: app and key must each be 1 to 64 letters, digits, - or _; %s", name, form)
	case idForm.MatchString(app) && appID != app:
		c.bad(at, "%q belongs to the app %q but stands under the app %q; move it there or write %q", name, appID, app, app+"."+keyID)
	case secret == "":
		c.bad(at, "%q has no secret behind the colon; %s", name, form)
	case strings.ContainsAny(secret, ":. \t\r\n") || strings.ContainsFunc(secret, isControl):
		c.bad(at, "the secret of %q holds a colon, a dot or white space, which clients cannot send; use letters, digits, - and _", name)
	default:
		return name
	}
	return ""
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// operations are what a capability can grant.
var operations = []string{
	"subscribe", "publish", "presence", "history", "channel-metadata", "stats",
	"annotation-publish", "annotation-subscribe", "object-publish", "object-subscribe",
	"message-update-own", "message-update-any", "message-delete-own", "message-delete-any",
	"push-subscribe", "push-admin", "privileged-headers", "*",
}

func (c checker) capability(at string, capability map[string][]string) {
	for _, resource := range slices.Sorted(maps.Keys(capability)) {
		key, ops := fmt.Sprintf("%s[%s]", at, resource), capability[resource]
		switch {
		case resource == "":
			c.bad(key, `names no channel; use "*" for all ordinary channels or "[*]*" for everything`)
		case len(ops) == 0:
			c.bad(key, `grants nothing; list operations such as ["subscribe"], or ["*"] for all, or remove it`)
		case len(ops) > 1 && slices.Contains(ops, "*"):
			c.bad(key, `"*" grants all operations and must stand alone; remove it or the others`)
		}
		for _, op := range ops {
			if !slices.Contains(operations, op) {
				c.bad(key, "%q is not an operation; did you mean %q? Known: %s", op, nearest(op, operations), strings.Join(operations, ", "))
			}
		}
	}
}

func (c checker) namespaces(at string, app *App) {
	seen := map[string]int{}
	for i := range app.Namespaces {
		ns, at := &app.Namespaces[i], fmt.Sprintf("%s.namespaces[%d]", at, i)
		switch first, ok := seen[ns.ID]; {
		case ns.ID == "":
			c.bad(at+".id", "is missing; it is the part of a channel's name before the first colon")
		case strings.ContainsAny(ns.ID, ":\r\n"):
			c.bad(at+".id", "%q holds a colon or a line break; a namespace is the part of a channel's name before the first colon", ns.ID)
		case ok:
			c.bad(at+".id", "%q is also the id of namespaces[%d]; put both into one entry", ns.ID, first)
		default:
			seen[ns.ID] = i
		}
		if ns.VacatedDelay != nil {
			c.delay(at+".vacated_delay", *ns.VacatedDelay)
		}
		if ns.OccupiedBy != "" {
			c.oneOf(at+".occupied_by", ns.OccupiedBy, "subscribers", "connections")
		}
		if ns.PresenceMembers != nil {
			c.members(at+".presence_members", *ns.PresenceMembers)
		}
	}
}

// members checks a bound of a presence set.
func (c checker) members(key string, n int) {
	if n < 1 || n > maxPresenceMembers {
		c.bad(key, "%d is out of range; it must be from 1 to %d members", n, maxPresenceMembers)
	}
}

// or lists alternatives as text.
func or(list []string) string  { return enumerate(list, " or ") }
func and(list []string) string { return enumerate(list, " and ") }

func enumerate(list []string, last string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + last + list[len(list)-1]
}
