package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
)

// app is the smallest app that is accepted, to put below what a test is about.
const app = "\napps:\n- {id: demo, keys: [{key: 'demo.root:secret'}]}\n"

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "n1.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string) Config {
	t.Helper()
	cfg, err := Load(write(t, text), nil, nil)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return cfg
}

func TestFileSetsEveryKey(t *testing.T) {
	got := load(t, `
node:
  data_dir: ./data/n1
  listen: 127.0.0.1:8081
  admin_listen: 127.0.0.1:8091
  cluster_listen: 127.0.0.1:7901
  gossip_listen: 127.0.0.1:7911
  cluster_advertise: n1:7901
  gossip_advertise: n1:7911
  join: ["127.0.0.1:7911", "127.0.0.1:7912"]
  bootstrap_expect: 3
  drain_timeout: 11s
  drain_spread: 4s
apps:
- id: demo
  account: acme
  keys:
  - {key: "demo.root:secret", capability: {"[*]*": ["*"]}}
  namespaces:
  - {id: chat, vacated_delay: 2s, occupied_by: connections, presence_members: 500}
  rules:
  - id: state
    source: channel.state
    channels: "^chat:"
    target:
      {url: "https://127.0.0.1:9000/events", format: centrifugo, headers: {X-Key: abc}, secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw],
       timeout: 1500ms, lanes: 4, batch_size: 50, linger: 0s, tls: {server_name: sink.example}}
state_events: {vacated_delay: 6s, restart_grace: 31s, retention: 5000, retention_max: 6000, retention_max_bytes: 7000000, retention_age: 8h}
channels: {idle_close: 61s, occupancy_interval: 2s, presence_members: 300, retention: 3m}
admin: {tokens: [a-token-that-is-long]}
limits: {new_apps: {channels: {soft: 8, hard: 10}, messageSize: {hard: 2048}}}
meter: {minutes: 48h, hours: 72h, days: 96h, months: 120h}
cluster: {partitions: 64, trust_refused: false, id: abc}
log: {level: debug, format: json}
`)
	want := Config{
		Node: Node{
			DataDir: "./data/n1", Listen: "127.0.0.1:8081", AdminListen: "127.0.0.1:8091", ClusterListen: "127.0.0.1:7901",
			GossipListen: "127.0.0.1:7911", ClusterAdvertise: "n1:7901", GossipAdvertise: "n1:7911",
			Join: []string{"127.0.0.1:7911", "127.0.0.1:7912"}, BootstrapExpect: 3,
			DrainTimeout: 11 * time.Second, DrainSpread: 4 * time.Second,
		},
		Apps: []App{{
			ID:         "demo",
			Account:    "acme",
			Keys:       []Key{{Key: "demo.root:secret", Capability: map[string][]string{"[*]*": {"*"}}}},
			Namespaces: []Namespace{{ID: "chat", VacatedDelay: new(2 * time.Second), OccupiedBy: "connections", PresenceMembers: new(500)}},
			Rules: []Rule{{
				ID: "state", Source: "channel.state", Channels: "^chat:",
				Target: Target{
					URL: "https://127.0.0.1:9000/events", Format: "centrifugo", Headers: map[string]string{"X-Key": "abc"},
					Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, Timeout: new(1500 * time.Millisecond),
					Lanes: new(4), BatchSize: new(50), Linger: new(time.Duration(0)), TLS: TLS{ServerName: "sink.example"},
				},
			}},
		}},
		StateEvents: StateEvents{VacatedDelay: 6 * time.Second, RestartGrace: 31 * time.Second, Retention: 5000, RetentionMax: 6000, RetentionMaxBytes: 7_000_000, RetentionAge: 8 * time.Hour},
		Channels:    Channels{IdleClose: 61 * time.Second, OccupancyInterval: 2 * time.Second, PresenceMembers: 300, Retention: 3 * time.Minute},
		Admin:       Admin{Tokens: []string{"a-token-that-is-long"}},
		Limits:      Limits{NewApps: map[string]map[string]int{"channels": {"soft": 8, "hard": 10}, "messageSize": {"hard": 2048}}},
		Meter:       Meter{Minutes: 48 * time.Hour, Hours: 72 * time.Hour, Days: 96 * time.Hour, Months: 120 * time.Hour},
		Cluster:     Cluster{Partitions: 64, TrustRefused: new(false), ID: "abc"},
		Log:         Log{Level: "debug", Format: "json"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaults(t *testing.T) {
	got := load(t, app)
	want := Default()
	want.Apps = []App{{ID: "demo", Keys: []Key{{Key: "demo.root:secret", Capability: map[string][]string{"*": {"*"}}}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	rule := load(t, `
apps:
- id: demo
  keys: [{key: 'demo.root:s'}]
  namespaces: [{id: chat}]
  rules: [{id: r, source: channel.state, target: {url: 'https://example.org/e'}}]
`).Apps[0]
	want.Apps[0].Rules = []Rule{{Target: Target{
		URL: "https://example.org/e", Format: "innkeeper", Timeout: new(DefaultTargetTimeout),
		Lanes: new(DefaultLanes), BatchSize: new(DefaultBatchSize), Linger: new(DefaultLinger),
	}}}
	if got, want := rule.Rules[0].Target, want.Apps[0].Rules[0].Target; !reflect.DeepEqual(got, want) {
		t.Errorf("target that sets nothing: %+v, want %+v", got, want)
	}
	grpc := load(t, "apps:\n- {id: demo, keys: [{key: 'demo.root:s'}], rules: [{id: r, source: channel.state, target: {url: 'grpc://example.org:9'}}]}")
	if got := grpc.Apps[0].Rules[0].Target.Format; got != "centrifugo" {
		t.Errorf("gRPC target has format %q", got)
	}
	if ns := rule.Namespaces[0]; ns.OccupiedBy != "subscribers" || ns.VacatedDelay != nil {
		t.Errorf("namespace that sets nothing: %+v", ns)
	}
}

func TestFlagBeatsVariableBeatsFileBeatsDefault(t *testing.T) {
	path := write(t, "node: {listen: '127.0.0.1:1', admin_listen: '127.0.0.1:2', data_dir: /file}\nstate_events: {vacated_delay: 1s}"+app)
	environ := []string{
		"PATH=/bin",
		"INNKEEPER_NODE_LISTEN=127.0.0.1:11", "INNKEEPER_NODE_ADMIN_LISTEN=127.0.0.1:12",
		"INNKEEPER_STATE_EVENTS_VACATED_DELAY=250ms",
		"INNKEEPER_NODE_JOIN=10.0.0.1:7910, 10.0.0.2:7910",
		"INNKEEPER_CLUSTER_TRUST_REFUSED=false",
		"INNKEEPER_CONFIG=elsewhere.yaml",
		"INNKEEPER_ADMIN_TOKEN=of-the-operator", // for commands, not for nodes
		"INNKEEPER_SERVICE_HOST=10.1.1.1", "INNKEEPER_PORT_8080_TCP_ADDR=10.1.1.1", "INNKEEPER_PORT=tcp://10.1.1.1:8080",
	}
	cfg, err := Load(path, environ, map[string]string{"node.listen": "127.0.0.1:21", "cluster.partitions": "16"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"flag over variable", cfg.Node.Listen, "127.0.0.1:21"},
		{"variable over file", cfg.Node.AdminListen, "127.0.0.1:12"},
		{"variable of a section with an underscore", cfg.StateEvents.VacatedDelay, 250 * time.Millisecond},
		{"file over default", cfg.Node.DataDir, "/file"},
		{"flag over default", cfg.Cluster.Partitions, 16},
		{"list in a variable", cfg.Node.Join, []string{"10.0.0.1:7910", "10.0.0.2:7910"}},
		{"switch in a variable", *cfg.Cluster.TrustRefused, false},
		{"default", cfg.Channels.IdleClose, time.Minute},
		{"only join, as join names others", cfg.Node.BootstrapExpect, 0},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestEverySettingIsFlagAndVariable(t *testing.T) {
	text := map[string]string{"text": "x", "number": "1", "true|false": "true", "duration": "1s", "list": "a,b"}
	for _, s := range Settings() {
		if s.Help == "" {
			t.Errorf("%s has no help", s.Path)
		}
		// A load with only this set may fail in its checks; that it was understood shows in the origin of the problem.
		_, err := Load("", []string{s.Env + "=" + text[s.Kind]}, nil)
		if err != nil && strings.Contains(err.Error(), "unknown") {
			t.Errorf("variable %s: %v", s.Env, err)
		}
		_, err = Load("", nil, map[string]string{s.Path: text[s.Kind]})
		if err != nil && strings.Contains(err.Error(), "unknown flag") {
			t.Errorf("flag %s: %v", s.Path, err)
		}
	}
}

func TestBootstrapExpectFollowsFromJoin(t *testing.T) {
	for _, c := range []struct {
		name, node string
		want       int
	}{
		{"no join", "{}", 1},
		{"empty join", "{join: []}", 1},
		{"join without value", "{join: }", 1},
		{"only itself", "{gossip_listen: '127.0.0.1:7911', join: ['127.0.0.1:7911']}", 1},
		{"only itself by name", "{gossip_listen: '127.0.0.1:7911', join: ['localhost:7911']}", 1},
		{"only itself as advertised", "{gossip_listen: '0.0.0.0:7911', gossip_advertise: 'n1:7911', join: ['N1:7911']}", 1},
		{"only itself on a wildcard", "{gossip_listen: '0.0.0.0:7911', gossip_advertise: '10.0.0.1:7911', join: ['127.0.0.1:7911']}", 1},
		{"others", "{join: ['10.0.0.1:7910']}", 0},
		{"itself and others", "{join: ['127.0.0.1:7910', '10.0.0.1:7910']}", 0},
		{"same port, other loopback", "{join: ['127.0.0.2:7910']}", 0},
		{"explicit", "{join: ['10.0.0.1:7910'], bootstrap_expect: 3}", 3},
		{"explicit, others join this one", "{bootstrap_expect: 3}", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := load(t, "node: "+c.node+app).Node.BootstrapExpect; got != c.want {
				t.Errorf("bootstrap_expect = %d, want %d", got, c.want)
			}
		})
	}
}

// TestRefused lists bad files with what the error must tell: the key first, then parts of the text.
func TestRefused(t *testing.T) {
	rule := func(rest string) string {
		return "apps:\n- {id: demo, keys: [{key: 'demo.root:secret'}], rules: [{id: r, source: channel.state, " + rest + "}]}"
	}
	key := func(key string) string { return "apps:\n- {id: demo, keys: [{key: '" + key + "'}]}" }
	capability := func(c string) string {
		return "apps:\n- {id: demo, keys: [{key: 'demo.root:secret', capability: " + c + "}]}"
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		// Keys that nobody knows.
		{"misspelt", "node: {listn: 'a:1'}" + app, []string{"node.listn: unknown key", "nearest known one is node.listen"}},
		{"of another product", "engine: {type: redis}" + app, []string{"engine: unknown key; known in this place: admin, apps, auth, "}},
		{"swapped letters", "state_events: {vacated_dealy: 1s}" + app, []string{"state_events.vacated_dealy", "state_events.vacated_delay"}},
		{"in the wrong section", "vacated_delay: 1s" + app, []string{"vacated_delay: unknown key", "state_events.vacated_delay"}},
		{"misspelt section", "channel: {idle_close: 1s}" + app, []string{"channel: unknown key", "known one is channels"}},
		{"below a list", "apps:\n- {id: demo, keys: [{kye: 'demo.root:s'}]}", []string{"apps[0].keys[0].kye: unknown key", "apps[].keys[].key"}},
		{"flat instead of nested", "node.listen: 'a:1'" + app, []string{"node.listen"}},

		// Values of another type.
		{"number for text", "node: {data_dir: 5}" + app, []string{"node.data_dir: 5 is a number", "must be text; put it in quotes"}},
		{"text for number", "cluster: {partitions: many}" + app, []string{`cluster.partitions: "many" is text`, "whole number"}},
		{"quoted number", "cluster: {partitions: '128'}" + app, []string{`"128" is text`, "without quotes"}},
		{"fraction", "cluster: {partitions: 1.5}" + app, []string{"cluster.partitions: 1.5", "whole number"}},
		{"duration without unit", "state_events: {vacated_delay: 5}" + app, []string{"state_events.vacated_delay: 5 is a number", "unit", "5s"}},
		{"nonsense duration", "state_events: {vacated_delay: soon}" + app, []string{`"soon" is not a duration`, "5s"}},
		{"text for switch", "cluster: {trust_refused: maybe}" + app, []string{"cluster.trust_refused", "true or false"}},
		{"text for list", "node: {join: '10.0.0.1:7910'}" + app, []string{"node.join", "must be a list"}},
		{"list for section", "node: [1]" + app, []string{"node: is a list", "section"}},
		{"map for list", "apps: {id: demo}", []string{"apps: is a map", "must be a list"}},
		{"hole in a list", "node: {join: [~]}" + app, []string{"node.join[0]: is empty"}},
		{"text for operations", capability(`{"*": subscribe}`), []string{"apps[0].keys[0].capability[*]", "must be a list"}},

		// Addresses.
		{"no port", "node: {listen: localhost}" + app, []string{`node.listen: "localhost" is not an address`, "host:port"}},
		{"port out of range", "node: {listen: '127.0.0.1:70000'}" + app, []string{`"70000"`, "0 to 65535"}},
		{"URL for address", "node: {admin_listen: 'http://a:1'}" + app, []string{"node.admin_listen", "host:port"}},
		{"join without port", "node: {join: ['10.0.0.1']}" + app, []string{"node.join[0]", "host:port"}},
		{"join with port 0", "node: {join: ['10.0.0.1:0']}" + app, []string{"node.join[0]", "names no port"}},
		{"join twice", "node: {join: ['a:1', 'a:1']}" + app, []string{"node.join[1]", "twice"}},
		{"two listeners on one port", "node: {listen: '127.0.0.1:8180'}" + app, []string{"node.admin_listen", "is also node.listen"}},
		{"wildcard not advertised", "node: {cluster_listen: '0.0.0.0:7900'}" + app, []string{"node.cluster_advertise", "0.0.0.0:7900"}},
		{"wildcard without host", "node: {gossip_listen: ':7910'}" + app, []string{"node.gossip_advertise: is not set", ":7910"}},
		{"wildcard advertised", "node: {cluster_advertise: '0.0.0.0:7900'}" + app, []string{"node.cluster_advertise", "no address that others can reach"}},
		{"empty data dir", "node: {data_dir: ''}" + app, []string{"node.data_dir: is empty"}},

		// Founding and joining.
		{"alone and with others", "node: {join: ['10.0.0.1:7910'], bootstrap_expect: 1}" + app, []string{"node.bootstrap_expect: 1 would found", "10.0.0.1:7910", "two clusters", "remove bootstrap_expect"}},
		{"joins nobody", "node: {bootstrap_expect: 0}" + app, []string{"node.bootstrap_expect: 0 means to join", "set it to 1"}},
		{"joins only itself", "node: {join: ['127.0.0.1:7910'], bootstrap_expect: 0}" + app, []string{"node.bootstrap_expect"}},
		{"negative", "node: {bootstrap_expect: -1}" + app, []string{"-1 is out of range", "0 to 15"}},

		// Numbers and delays.
		{"no partitions", "cluster: {partitions: 0}" + app, []string{"cluster.partitions: 0 is no number of partitions", "a power of two from 8 to 4096"}},
		{"too many partitions", "cluster: {partitions: 5000}" + app, []string{"5000", "a power of two from 8 to 4096"}},
		{"odd partitions", "cluster: {partitions: 100}" + app, []string{"100", "a power of two from 8 to 4096"}},
		{"negative delay", "state_events: {vacated_delay: -1s}" + app, []string{"state_events.vacated_delay: -1s is negative"}},
		{"negative grace", "state_events: {restart_grace: -1s}" + app, []string{"state_events.restart_grace"}},
		{"negative idle close", "channels: {idle_close: -1s}" + app, []string{"channels.idle_close"}},
		{"a short token", "admin: {tokens: [short]}" + app, []string{"admin.tokens[0]: has 5 characters", "openssl rand"}},
		{"a token with a space", "admin: {tokens: ['a token that is long']}" + app, []string{"admin.tokens[0]: holds white space"}},
		{"an unknown limit", "limits: {new_apps: {chanels: {hard: 5}}}" + app, []string{"limits.new_apps.chanels: is not a limit", "known are channels"}},
		{"a negative limit", "limits: {new_apps: {channels: {hard: -5}}}" + app, []string{"limits.new_apps.channels.hard: is -5", "from 1 to 1000000000"}},
		{"soft above hard", "limits: {new_apps: {channels: {soft: 9, hard: 8}}}" + app, []string{"limits.new_apps.channels.soft: is 9, above the hard threshold 8"}},
		{"soft of one thing", "limits: {new_apps: {messageSize: {soft: 2000}}}" + app, []string{"limits.new_apps.messageSize.soft", "set hard"}},
		{"a limit that is a number", "limits: {new_apps: {channels: 5}}" + app, []string{"limits.new_apps[channels]: 5 is a number"}},
		{"neither soft nor hard", "limits: {new_apps: {channels: {firm: 5}}}" + app, []string{"limits.new_apps.channels.firm: is not known; a limit has soft and hard"}},
		{"minutes for ever", "meter: {minutes: 9000h}" + app, []string{"meter.minutes: 9000h0m0s is out of range", "to 1488h0m0s"}},
		{"hours shorter than minutes", "meter: {hours: 100h}" + app, []string{"meter.hours: 100h0m0s is shorter than the 168h0m0s"}},
		{"no members", "channels: {presence_members: 0}" + app, []string{"channels.presence_members: 0 is out of range", "from 1 to 100000 members"}},
		{"long interval", "channels: {occupancy_interval: 1m}" + app, []string{"channels.occupancy_interval: 1m0s is too long", "15s"}},
		{"no retention", "state_events: {retention: 0}" + app, []string{"state_events.retention: 0 is out of range"}},
		{"bound below the retention", "state_events: {retention: 5000, retention_max: 4999}" + app, []string{"state_events.retention_max: 4999 is out of range", "5000"}},
		{"few bytes", "state_events: {retention_max_bytes: 1}" + app, []string{"state_events.retention_max_bytes: 1 is too little"}},
		{"negative age", "state_events: {retention_age: -1h}" + app, []string{"state_events.retention_age: -1h0m0s is negative"}},
		{"level", "log: {level: loud}" + app, []string{`log.level: "loud" is not known`, "debug, info, warn or error"}},
		{"log format", "log: {format: xml}" + app, []string{`log.format: "xml"`, "text or json"}},

		// Apps and keys.
		{"no apps", "node: {}", []string{"apps: is empty", "demo.root:secret"}},
		{"empty file", "", []string{"apps: is empty"}},
		{"app without id", "apps: [{keys: [{key: 'a.b:c'}]}]", []string{"apps[0].id: is missing"}},
		{"app with a bad id", "apps: [{id: 'a b', keys: [{key: 'a.b:c'}]}]", []string{`apps[0].id: "a b" is not an id`}},
		{"two apps of one id", "apps: [{id: a, keys: [{key: 'a.b:c'}]}, {id: a, keys: [{key: 'a.b:c'}]}]", []string{"apps[1].id", "also the id of apps[0]"}},
		{"app without keys", "apps: [{id: demo}]", []string{"apps[0].keys: is empty", "demo.root:"}},
		{"key of another app", key("other.root:geheim"), []string{"apps[0].keys[0].key", `"other.root" belongs to the app "other"`, "demo.root"}},
		{"key without secret", key("demo.root"), []string{"apps[0].keys[0].key: has no colon"}},
		{"key with empty secret", key("demo.root:"), []string{`"demo.root" has no secret`}},
		{"key without dot", key("demo:geheim"), []string{`"demo" has no dot`}},
		{"key with two dots", key("demo.a.b:geheim"), []string{`"demo.a.b" is not the name of a key`}},
		{"colon in the secret", key("demo.root:geh:eim"), []string{`the secret of "demo.root" holds`}},
		{"dot in the secret", key("demo.root:geh.eim"), []string{"letters, digits, - and _"}},
		{"space in the secret", key("demo.root:geh eim"), []string{"white space"}},
		{"two keys of one name", "apps: [{id: a, keys: [{key: 'a.b:geheim'}, {key: 'a.b:geheim2'}]}]", []string{"apps[0].keys[1].key", `"a.b" is also the name of keys[0]`}},
		{"secret of another type", "apps: [{id: a, keys: ['a.b:geheim']}]", []string{"apps[0].keys[0]: is text", "section"}},
		{"unknown operation", capability(`{"chat:*": [subscirbe]}`), []string{"apps[0].keys[0].capability[chat:*]", `"subscirbe" is not an operation; did you mean "subscribe"`}},
		{"star among others", capability(`{"*": ["*", publish]}`), []string{"must stand alone"}},
		{"grants nothing", capability(`{"*": []}`), []string{"grants nothing"}},
		{"no resource", capability(`{"": [publish]}`), []string{"names no channel"}},

		// Namespaces and rules.
		{"namespace twice", "apps: [{id: a, keys: [{key: 'a.b:c'}], namespaces: [{id: x}, {id: x}]}]", []string{"apps[0].namespaces[1].id", "namespaces[0]"}},
		{"namespace with colon", "apps: [{id: a, keys: [{key: 'a.b:c'}], namespaces: [{id: 'x:y'}]}]", []string{`apps[0].namespaces[0].id: "x:y"`}},
		{"namespace without id", "apps: [{id: a, keys: [{key: 'a.b:c'}], namespaces: [{vacated_delay: 1s}]}]", []string{"apps[0].namespaces[0].id: is missing"}},
		{"namespace with a negative delay", "apps: [{id: a, keys: [{key: 'a.b:c'}], namespaces: [{id: x, vacated_delay: -2s}]}]", []string{"apps[0].namespaces[0].vacated_delay: -2s is negative"}},
		{"occupied by what", "apps: [{id: a, keys: [{key: 'a.b:c'}], namespaces: [{id: x, occupied_by: members}]}]", []string{`apps[0].namespaces[0].occupied_by: "members"`, "subscribers or connections"}},
		{"rule twice", "apps: [{id: a, keys: [{key: 'a.b:c'}], rules: [{id: x, source: channel.state, target: {url: 'http://a/'}}, {id: x, source: channel.state, target: {url: 'http://a/'}}]}]", []string{"apps[0].rules[1].id", "rules[0]"}},
		{"unknown source", "apps: [{id: a, keys: [{key: 'a.b:c'}], rules: [{id: x, source: channel.messages, target: {url: 'http://a/'}}]}]", []string{`apps[0].rules[0].source: "channel.messages"`, "channel.state"}},
		{"regular expression", rule("channels: '(?=x)', target: {url: 'http://a/'}"), []string{"apps[0].rules[0].channels", "(?=x)", "RE2"}},
		{"no URL", rule("target: {}"), []string{"apps[0].rules[0].target.url: is missing"}},
		{"URL scheme", rule("target: {url: 'ftp://a/'}"), []string{"apps[0].rules[0].target.url", `"ftp"`, "http, https, grpc or grpcs"}},
		{"URL without host", rule("target: {url: 'http:///x'}"), []string{"names no host"}},
		{"URL broken", rule("target: {url: 'http://a b/'}"), []string{"is not a URL"}},
		{"format", rule("target: {url: 'http://a/', format: xml}"), []string{`apps[0].rules[0].target.format: "xml"`, "innkeeper, centrifugo or ably"}},
		{"timeout", rule("target: {url: 'http://a/', timeout: 4s}"), []string{"apps[0].rules[0].target.timeout: 4s is out of range", "less than 4s"}},
		{"no time", rule("target: {url: 'http://a/', timeout: 0s}"), []string{"target.timeout: 0s is out of range", "more than 0s"}},
		{"no time, without a unit", rule("target: {url: 'http://a/', timeout: 0}"), []string{"target.timeout: 0s is out of range"}},
		{"no lane", rule("target: {url: 'http://a/', lanes: 0}"), []string{"target.lanes: 0 is out of range", "1 to 256"}},
		{"no batch", rule("target: {url: 'http://a/', batch_size: 0}"), []string{"target.batch_size: 0 is out of range", "1 to 1000"}},
		{"gRPC without port", rule("target: {url: 'grpc://a'}"), []string{"target.url", "names no port"}},
		{"gRPC with path", rule("target: {url: 'grpc://a:1/x'}"), []string{"target.url", "more than host and port"}},
		{"gRPC format", rule("target: {url: 'grpc://a:1', format: innkeeper}"), []string{"target.format: innkeeper is not known over gRPC"}},
		{"gRPC header", rule("target: {url: 'grpc://a:1', headers: {grpc-x: z}}"), []string{"target.headers[grpc-x]", "cannot be sent over gRPC"}},
		{"gRPC header value", rule("target: {url: 'grpc://a:1', headers: {x: ü}}"), []string{"target.headers[x]", "beyond ASCII"}},
		{"gRPC secret", rule("target: {url: 'grpc://a:1', secrets: [geheimgeheimgeheim]}"), []string{"target.secrets: sign HTTP requests only"}},
		{"short secret", rule("target: {url: 'http://a/', secrets: [geheim]}"), []string{"target.secrets[0]: stands for a key of 6 bytes", "openssl rand"}},
		{"secret that is no base64", rule("target: {url: 'http://a/', secrets: ['whsec_geheim!']}"), []string{"target.secrets[0]: is not base64"}},
		{"secret that is no list", rule("target: {url: 'http://a/', secrets: geheim}"), []string{"target.secrets: is text, but it must be a list"}},
		{"webhook header", rule("target: {url: 'http://a/', headers: {Webhook-Id: z}}"), []string{"target.headers[Webhook-Id]", "set secrets"}},
		{"lanes", rule("target: {url: 'http://a/', lanes: 257}"), []string{"target.lanes: 257 is out of range", "1 to 256"}},
		{"batch size", rule("target: {url: 'http://a/', batch_size: -1}"), []string{"target.batch_size: -1 is out of range", "1 to 1000"}},
		{"linger", rule("target: {url: 'http://a/', linger: 11s}"), []string{"target.linger: 11s is out of range", "0s to 10s"}},
		{"ably of state", rule("target: {url: 'http://a/', format: ably}"), []string{"target.format: ably has no words for the source channel.state"}},
		{"mode of another format", rule("target: {url: 'http://a/', mode: single}"), []string{`target.mode: "single" belongs to the format ably`}},
		{"encoding of another format", rule("target: {url: 'http://a/', encoding: msgpack}"), []string{`target.encoding: "msgpack" belongs to the format ably`}},
		{"encoding", "apps: [{id: a, keys: [{key: 'a.b:c'}], rules: [{id: x, source: channel.message, target: {url: 'http://a/', format: ably, encoding: xml}}]}]", []string{`target.encoding: "xml"`, "json or msgpack"}},
		{"encoding of plain requests", "apps: [{id: a, keys: [{key: 'a.b:c'}], rules: [{id: x, source: channel.message, target: {url: 'http://a/', format: ably, mode: plain, encoding: msgpack}}]}]", []string{"target.encoding: msgpack has no place in the mode plain"}},
		{"signing key of another format", rule("target: {url: 'http://a/', signing_key: root}"), []string{`target.signing_key: "root" belongs to the format ably`, "secrets"}},
		{"ably over gRPC", rule("target: {url: 'grpc://a:1', format: ably}"), []string{"target.format: ably is not known over gRPC"}},
		{"TLS without TLS", rule("target: {url: 'http://a/', tls: {server_name: x}}"), []string{"target.tls: is set, but", "is not encrypted"}},
		{"trust nobody and anybody", rule("target: {url: 'https://a/', tls: {insecure_skip_verify: true, server_name: x}}"), []string{"tls.insecure_skip_verify: true trusts anybody"}},
		{"certificate without key", rule("target: {url: 'https://a/', tls: {cert_file: x}}"), []string{"tls.key_file: is missing"}},
		{"key without certificate", rule("target: {url: 'https://a/', tls: {key_file: x}}"), []string{"tls.cert_file: is missing"}},
		{"no such file", rule("target: {url: 'https://a/', tls: {ca_file: /no/such/file}}"), []string{"tls.ca_file: there is no file /no/such/file"}},
		{"no certificate in the file", rule("target: {url: 'https://a/', tls: {ca_file: load_test.go}}"), []string{"tls.ca_file: load_test.go holds no certificate", "BEGIN CERTIFICATE"}},
		{"no pair", rule("target: {url: 'https://a/', tls: {cert_file: load_test.go, key_file: load_test.go}}"), []string{"tls.cert_file: load_test.go and load_test.go are no pair"}},
		{"header name", rule("target: {url: 'http://a/', headers: {'X Y': z}}"), []string{"apps[0].rules[0].target.headers[X Y]"}},
		{"header value", rule(`target: {url: 'http://a/', headers: {X: "a\nb"}}`), []string{"headers[X]", "line break"}},

		// Not even YAML.
		{"broken", "node: {listen", []string{"n1.yaml: not valid YAML", "line 1"}},
		{"a list", "- a", []string{"must be a map of sections"}},
		{"key twice", "node: {listen: 'a:1', listen: 'a:2'}", []string{"not valid YAML", "listen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, c.text), nil, nil)
			if err == nil {
				t.Fatal("was accepted")
			}
			for _, part := range append(c.want, "n1.yaml") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is missing in: %v", part, err)
				}
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("the error gives a secret away: %v", err)
			}
			var e *Error
			if errors.As(err, &e) && len(e.Problems) != 1 && c.name != "flat instead of nested" {
				t.Errorf("%d problems for one mistake: %v", len(e.Problems), err)
			}
		})
	}
}

func TestProblemsAreReportedTogether(t *testing.T) {
	_, err := Load(write(t, "node: {listn: 'a:1', data_dir: 7}\ncluster: {partitions: 0}"+app), []string{"INNKEEPER_LOG_LEVEL=loud"}, map[string]string{"state_events.retention": "x"})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	want := []string{"state_events.retention", "node.listn", "node.data_dir", "cluster.partitions", "log.level"}
	var got []string
	for _, p := range e.Problems {
		got = append(got, p.Key)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, part := range []string{"5 problems", "log.level (variable INNKEEPER_LOG_LEVEL)", "state_events.retention (flag --state_events.retention)"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
}

func TestUnknownVariablesAndFlags(t *testing.T) {
	path := write(t, app)
	for name, want := range map[string]string{
		"INNKEEPER_NODE_LISTN": "nearest known one is INNKEEPER_NODE_LISTEN",
		"INNKEEPER_APPS_0_ID":  "in the file only",
	} {
		if _, err := Load(path, []string{name + "=x"}, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if _, err := Load(path, nil, map[string]string{"node.joim": "x"}); err == nil || !strings.Contains(err.Error(), "--node.join") {
		t.Errorf("unknown flag: %v", err)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

// TestExample keeps the documented file true: it loads, names every setting, shows every default, and says of which there is
// no flag and no variable.
func TestExample(t *testing.T) {
	const path = "../../../docs/innkeeper.yaml"
	cfg, err := Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Apps = cfg.Apps
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("the example sets something else than the defaults:\ngot  %+v\nwant %+v", cfg, want)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range knownPaths() {
		if _, leaf := splitPath(known); !strings.Contains(string(text), leaf+":") {
			t.Errorf("%s is not in the example", known)
		}
	}
	shown := koanf.New(".")
	if err := shown.Load(rawbytes(text), yaml.Parser()); err != nil {
		t.Fatal(err)
	}
	settings := map[string]bool{"apps": true, "limits.new_apps": true} // but for which, the file says
	if !strings.Contains(string(text), `Each setting but "apps" and "limits.new_apps"`) {
		t.Error("the example does not say what is set in the file only")
	}
	for _, s := range Settings() {
		settings[s.Path] = true
		if s.Default != "" && !shown.Exists(s.Path) {
			t.Errorf("the example does not show that %s is %s by default", s.Path, s.Default)
		}
	}
	walk(reflect.ValueOf(Default()), "", func(path string, _ reflect.StructField, _ reflect.Value) {
		if !settings[path] {
			t.Errorf("%s is set in the file only", path)
		}
	})
}

// rawbytes is a koanf.Provider of a file that was read.
type rawbytes []byte

func (b rawbytes) ReadBytes() ([]byte, error)    { return b, nil }
func (b rawbytes) Read() (map[string]any, error) { return nil, errors.ErrUnsupported }

func TestSummaryKeepsSecrets(t *testing.T) {
	text := load(t, `
apps:
- id: demo
  keys: [{key: 'demo.root:geheim'}]
  rules: [{id: r, source: channel.state, target: {url: 'http://me:geheim@h/e', headers: {Authorization: geheim}, secrets: [geheimgeheimgeheim]}}]
`).Summary()
	if strings.Contains(text, "geheim") {
		t.Errorf("the summary gives a secret away:\n%s", text)
	}
	for _, part := range []string{"node.listen ", "(default)", "key demo.root:***", "channel.state of all channels", "8 lanes, batches of 100, linger 5ms, signed"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"listn", "listen", 1}, {"lisetn", "listen", 1}, {"abc", "xyz", 3}, {"join", "joins", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
