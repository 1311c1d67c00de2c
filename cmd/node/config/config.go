// Package config is everything a user can set, with its defaults and checks.
package config

import "time"

// Config is the whole configuration of one node. Keys are the YAML names; a flag or variable has the same path.
type Config struct {
	Node        Node        `koanf:"node"`
	Apps        []App       `koanf:"apps"`
	StateEvents StateEvents `koanf:"state_events"`
	Channels    Channels    `koanf:"channels"`
	Cluster     Cluster     `koanf:"cluster"`
	Log         Log         `koanf:"log"`
}

// Node is where this process lives and listens.
type Node struct {
	DataDir         string   `koanf:"data_dir"`
	Listen          string   `koanf:"listen"`
	AdminListen     string   `koanf:"admin_listen"`
	ClusterListen   string   `koanf:"cluster_listen"`
	GossipListen    string   `koanf:"gossip_listen"`
	Join            []string `koanf:"join"`
	BootstrapExpect int      `koanf:"bootstrap_expect"`
	// What other nodes are told instead of the listen addresses; needed when those are 0.0.0.0.
	ClusterAdvertise string `koanf:"cluster_advertise"`
	GossipAdvertise  string `koanf:"gossip_advertise"`
}

// App is one application: its keys, namespaces and rules.
type App struct {
	ID         string      `koanf:"id"`
	Keys       []Key       `koanf:"keys"`
	Namespaces []Namespace `koanf:"namespaces"`
	Rules      []Rule      `koanf:"rules"`
}

// Key is "appId.keyId:secret" and what it may do: resource → operations.
type Key struct {
	Key        string              `koanf:"key"`
	Capability map[string][]string `koanf:"capability"`
}

// Namespace sets what differs for channels whose name starts with "ID:". Nil or "" means the general setting.
type Namespace struct {
	ID           string         `koanf:"id"`
	VacatedDelay *time.Duration `koanf:"vacated_delay"`
	OccupiedBy   string         `koanf:"occupied_by"` // subscribers (default) or connections
}

// Rule sends events to a target.
type Rule struct {
	ID       string `koanf:"id"`
	Source   string `koanf:"source"`   // channel.state
	Channels string `koanf:"channels"` // RE2, "" is all
	Target   Target `koanf:"target"`
}

// Target is where a rule's events go.
type Target struct {
	URL     string            `koanf:"url"`
	Format  string            `koanf:"format"` // innkeeper (default) or centrifugo
	Headers map[string]string `koanf:"headers"`
	Timeout time.Duration     `koanf:"timeout"`
}

// StateEvents sets when occupied and vacated are said.
type StateEvents struct {
	VacatedDelay time.Duration `koanf:"vacated_delay"`
	RestartGrace time.Duration `koanf:"restart_grace"`
	Retention    int           `koanf:"retention"` // events kept
}

// Channels sets the life of channels.
type Channels struct {
	IdleClose         time.Duration `koanf:"idle_close"`
	OccupancyInterval time.Duration `koanf:"occupancy_interval"` // roll-up of occupancy events that cross no zero
}

// Cluster sets what all nodes must agree on.
type Cluster struct {
	Partitions   int   `koanf:"partitions"`
	TrustRefused *bool `koanf:"trust_refused"`
	// ID, when set, must equal the cluster id in the data dir.
	ID string `koanf:"id"`
}

// Log sets what the node says about itself.
type Log struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"` // text or json
}
