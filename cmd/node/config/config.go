package config

import "time"

// Config is the whole configuration of one node. Keys are the YAML names; a flag or variable has the same path.
// The help tag is the text of the flag and of the reference.
type Config struct {
	Node        Node        `koanf:"node"`
	Apps        []App       `koanf:"apps"`
	StateEvents StateEvents `koanf:"state_events"`
	Channels    Channels    `koanf:"channels"`
	Auth        Auth        `koanf:"auth"`
	Admin       Admin       `koanf:"admin"`
	Limits      Limits      `koanf:"limits"`
	Meter       Meter       `koanf:"meter"`
	Cluster     Cluster     `koanf:"cluster"`
	Log         Log         `koanf:"log"`
}

// Node is where this process lives and listens.
type Node struct {
	DataDir         string   `koanf:"data_dir" help:"Directory of the node's identity and log; one node, one directory."`
	Listen          string   `koanf:"listen" help:"Address for clients: WebSocket and REST."`
	AdminListen     string   `koanf:"admin_listen" help:"Address for health, metrics and the admin API."`
	ClusterListen   string   `koanf:"cluster_listen" help:"Address for the other nodes: Raft and links."`
	GossipListen    string   `koanf:"gossip_listen" help:"Address for gossip, TCP and UDP."`
	Join            []string `koanf:"join" help:"Gossip addresses of nodes to join; the own one may be among them."`
	BootstrapExpect int      `koanf:"bootstrap_expect" help:"Nodes that found a new cluster together; 0 only joins. Default: 1 when join names no other node, else 0."`
	// How a node stops.
	DrainTimeout time.Duration `koanf:"drain_timeout" help:"How long a stop may take to hand partitions to other nodes; 0 leaves it to them to take over."`
	DrainSpread  time.Duration `koanf:"drain_spread" help:"A node that stops sends its clients elsewhere over this time."`
	// What other nodes are told instead of the listen addresses; needed when those are 0.0.0.0.
	ClusterAdvertise string `koanf:"cluster_advertise" help:"What other nodes are told instead of cluster_listen."`
	GossipAdvertise  string `koanf:"gossip_advertise" help:"What other nodes are told instead of gossip_listen."`
}

// App is one application: its keys, namespaces and rules.
type App struct {
	ID      string `koanf:"id"`
	Account string `koanf:"account"` // apps of one are metered together as well; "" is "default"
	// Lifecycle has the log know when channels open and close, for [meta]channel.lifecycle. A rule with the source
	// channel.lifecycle does it too.
	Lifecycle  bool        `koanf:"lifecycle"`
	Keys       []Key       `koanf:"keys"`
	Namespaces []Namespace `koanf:"namespaces"`
	Rules      []Rule      `koanf:"rules"`
}

// Key is "appId.keyId:secret" and what it may do: resource → operations. Without a capability it may do everything on
// all ordinary channels: {"*": ["*"]}.
type Key struct {
	Key        string              `koanf:"key"`
	Capability map[string][]string `koanf:"capability"`
	// Tokens of a key with RevocableTokens can be revoked before they end, and live for an hour at most.
	RevocableTokens bool `koanf:"revocable_tokens"`
}

// Namespace sets what differs for channels whose name starts with "ID:". Nil or "" means the general setting.
type Namespace struct {
	ID           string         `koanf:"id"`
	VacatedDelay *time.Duration `koanf:"vacated_delay"`
	OccupiedBy   string         `koanf:"occupied_by"` // subscribers (default) or connections
	// PresenceMembers is how many members a channel has at most.
	PresenceMembers *int `koanf:"presence_members"`
	// MutableMessages lets messages be updated, deleted, appended to and annotated.
	MutableMessages bool `koanf:"mutable_messages"`
}

// Rule sends events to a target.
type Rule struct {
	ID       string `koanf:"id"`
	Source   string `koanf:"source"`   // channel.state, .lifecycle, .message, .presence or .occupancy
	Channels string `koanf:"channels"` // RE2, "" is all
	Target   Target `koanf:"target"`
}

// Target is where a rule's events go. Nil means the default, and so does "".
type Target struct {
	URL    string `koanf:"url"`    // http, https, grpc or grpcs
	Format string `koanf:"format"` // innkeeper (default), centrifugo (the only one for gRPC) or ably
	// With the format ably: one request for many events (batched, the default), or for each one, in an envelope or not.
	Mode       string            `koanf:"mode"`        // batched, single or plain
	Encoding   string            `koanf:"encoding"`    // of requests but plain ones: json (default) or msgpack
	SigningKey string            `koanf:"signing_key"` // id of a key of the app that signs requests; "" signs none
	Headers    map[string]string `koanf:"headers"`
	Secrets    []string          `koanf:"secrets"`    // sign HTTP requests; several while one replaces another
	Timeout    *time.Duration    `koanf:"timeout"`    // of one request; default DefaultTargetTimeout, below a lease
	Lanes      *int              `koanf:"lanes"`      // requests in flight at once; default DefaultLanes
	BatchSize  *int              `koanf:"batch_size"` // events in a request at most; default DefaultBatchSize
	Linger     *time.Duration    `koanf:"linger"`     // how long the first event waits for company; default DefaultLinger
	TLS        TLS               `koanf:"tls"`        // for https and grpcs
}

// TLS says whom to trust and who to be. Files are PEM and are read when the node starts.
type TLS struct {
	CAFile             string `koanf:"ca_file"`              // "" is the system's authorities
	CertFile           string `koanf:"cert_file"`            // with KeyFile: what to show the target
	KeyFile            string `koanf:"key_file"`             //
	ServerName         string `koanf:"server_name"`          // that the target must prove; "" is the URL's host
	InsecureSkipVerify bool   `koanf:"insecure_skip_verify"` // trust anybody
}

// StateEvents sets when occupied and vacated are said.
type StateEvents struct {
	VacatedDelay time.Duration `koanf:"vacated_delay" help:"How long a channel stays occupied after the last one left."`
	RestartGrace time.Duration `koanf:"restart_grace" help:"The same after a stop of the whole cluster, for clients to return."`
	Retention    int           `koanf:"retention" help:"State events kept for reading and for sinks that are behind."`
	// Bounds of what is kept while a sink is behind. Beyond them events are folded for it.
	RetentionMax      int           `koanf:"retention_max" help:"State events kept at most, though a sink be behind."`
	RetentionMaxBytes int           `koanf:"retention_max_bytes" help:"Memory that state events take at most, though a sink be behind."`
	RetentionAge      time.Duration `koanf:"retention_age" help:"Older state events go, though a sink be behind; 0 keeps any."`
}

// Channels sets the life of channels.
type Channels struct {
	IdleClose         time.Duration `koanf:"idle_close" help:"How long a channel without attachments stays open after its last use."`
	OccupancyInterval time.Duration `koanf:"occupancy_interval" help:"Least time between occupancy events that cross no zero."`
	PresenceMembers   int           `koanf:"presence_members" help:"Members of a channel's presence set at most."`
	Retention         time.Duration `koanf:"retention" help:"How long messages are kept for clients that come back, rewind and history; 0 keeps none."`
}

// Auth sets who may do what beyond the apps of the configuration.
type Auth struct {
	AppsAPI bool `koanf:"apps_api" help:"Let anybody make apps with POST /apps, as test suites of SDKs do. Not for production."`
}

// Admin sets who may use the admin API.
type Admin struct {
	Tokens []string `koanf:"tokens" help:"Let in who shows one, as a Bearer token, to the control API and to whatever changes something. Without any only this machine is let in to the control API."`
}

// Limits sets what apps may have and do, beyond what the control API sets while the cluster runs.
type Limits struct {
	// NewApps are those of an app that is made while the cluster runs: name → soft and hard, as in the control API. They are
	// written to the log when the app is made, and are changed there.
	NewApps map[string]map[string]int `koanf:"new_apps"`
}

// Meter sets for how long is kept what was measured.
type Meter struct {
	Minutes time.Duration `koanf:"minutes" help:"How long figures of minutes are kept."`
	Hours   time.Duration `koanf:"hours" help:"How long figures of hours are kept."`
	Days    time.Duration `koanf:"days" help:"How long figures of days are kept."`
	Months  time.Duration `koanf:"months" help:"How long figures of months are kept; the longest."`
}

// Cluster sets what all nodes must agree on.
type Cluster struct {
	Partitions   int   `koanf:"partitions" help:"Slices of the channel-name space; counts when the cluster is founded; innkeeper cluster repartition changes it later."`
	TrustRefused *bool `koanf:"trust_refused" help:"Take a refused connection as proof that a process is gone. Turn off behind firewalls that reject."`
	// ID, when set, must equal the cluster id in the data dir.
	ID string `koanf:"id" help:"Cluster id that the data directory must have."`
}

// Log sets what the node says about itself.
type Log struct {
	Level  string `koanf:"level" help:"Least level of log lines: debug, info, warn or error."`
	Format string `koanf:"format" help:"Form of log lines: text or json."`
}
