package node

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"innkeeper/cmd/node/config"
	"innkeeper/transport/standing"
)

// trio is three nodes that found a cluster together, at addresses that they keep.
func trio(t *testing.T) (cfgs []config.Config, nodes []*running) {
	t.Helper()
	cfgs = make([]config.Config, 3)
	var seeds []string
	for i := range cfgs {
		cfgs[i] = settings(t.TempDir())
		cfgs[i].Node.GossipListen, cfgs[i].Node.ClusterListen = freeAddr(t), freeAddr(t)
		cfgs[i].Node.BootstrapExpect = 3
		cfgs[i].Auth.AppsAPI = true
		cfgs[i].StateEvents.VacatedDelay = time.Hour
		seeds = append(seeds, cfgs[i].Node.GossipListen)
	}
	for i := range cfgs {
		cfgs[i].Node.Join = seeds
		nodes = append(nodes, run(t, cfgs[i]))
	}
	for _, n := range nodes {
		n.ready()
	}
	return cfgs, nodes
}

// listing is a node's answer to GET /occupied, or the status of a refusal and its code.
type listing struct {
	status, code int
	asOf         uint64
	channels     []string
}

func (r *running) list(key, query string) listing {
	r.t.Helper()
	res, body := request(r.t, http.MethodGet, "http://"+r.ClientAddr()+"/occupied?"+query, key, "", nil)
	var page struct {
		AsOf     uint64 `json:"as_of"`
		Channels []held
		Error    struct{ Code int }
	}
	if err := json.Unmarshal(body, &page); err != nil {
		r.t.Fatalf("GET /occupied: %v in %s", err, body)
	}
	l := listing{status: res.StatusCode, code: page.Error.Code, asOf: page.AsOf}
	for _, h := range page.Channels {
		l.channels = append(l.channels, h.Channel)
	}
	slices.Sort(l.channels)
	return l
}

// TestNodesThatCannotKnow starts a node of three whose others are dead: whatever it is asked that it would have to know of
// the cluster, it says that it does not know, and nothing empty. While it catches up it answers so or right, in no case
// with less; when it is cut off it tells what it has to whoever asks for just that. To a drain it says no all the time.
func TestNodesThatCannotKnow(t *testing.T) {
	cfgs, nodes := trio(t)
	nodes[0].occupy("chat:p", "chat:q")
	app := nodes[1].provision(`{"keys":[{}]}`)
	made := app.Keys[0].KeyStr
	full := nodes[2].list(rootKey, "")
	if full.status != 200 || full.asOf != 2 || len(full.channels) != 2 {
		t.Fatalf("before: %+v", full)
	}
	for _, n := range nodes {
		n.Kill()
	}

	alone := run(t, cfgs[0])
	<-alone.Started()
	alone.until("the knowledge that it is alone", func() bool { return len(alone.boot.Load().cluster.Unanswered()) == 2 })
	if err := alone.Ready(); !strings.Contains(err.Error(), cfgs[1].Node.GossipListen) {
		t.Errorf("it is not ready, and nothing says whom it misses: %v", err)
	}
	for _, query := range []string{"", "consistency=stale", "consistency=leader"} {
		for _, key := range []string{rootKey, made} {
			if got := alone.list(key, query); got.status != 503 || got.code != 50003 {
				t.Errorf("GET /occupied?%s of one that has read nothing: %+v", query, got)
			}
		}
	}
	for _, path := range []string{"/events", "/events?consistency=stale", "/channels", "/channels/chat:p", "/stats"} {
		for _, key := range []string{rootKey, made} {
			if got := alone.status(http.MethodGet, path, key); got != 503 {
				t.Errorf("GET %s of one that has read nothing: %d", path, got)
			}
		}
	}
	if got := alone.status(http.MethodGet, "/time", ""); got != 200 {
		t.Errorf("GET /time: %d", got)
	}
	if res, body := request(t, http.MethodGet, "http://"+alone.AdminAddr()+"/v1/apps", "", "", nil); res.StatusCode != 503 {
		t.Errorf("GET /v1/apps of one that has read nothing: %d %s", res.StatusCode, body)
	}
	alone.shows(503, 503)
	if _, err := alone.boot.Load().backup(t.Context(), true); statusOf(err) != http.StatusConflict || !strings.Contains(err.Error(), "majority") {
		t.Errorf("a backup of it: %v", err)
	}
	if _, err := alone.boot.Load().drain(t.Context(), ""); err == nil {
		t.Error("it is drained although nobody could take over")
	}

	second := run(t, cfgs[1])
	for _, n := range []*running{alone, second} {
		<-n.Started()
		n.until("an answer", func() bool {
			got := n.list(made, "")
			if got.status == 200 {
				if got.asOf < full.asOf || got.channels != nil {
					t.Errorf("the app that was made has %+v", got)
				}
				return true
			}
			if got.status != 503 {
				t.Errorf("on the way: %+v", got)
			}
			return false
		})
		if got := n.list(rootKey, ""); got.status != 200 || got.asOf < full.asOf || !slices.Equal(got.channels, full.channels) {
			t.Errorf("afterwards: %+v, want %+v", got, full)
		}
	}
	alone.ready()
	second.Kill()
	if _, err := alone.boot.Load().drain(t.Context(), ""); statusOf(err) != http.StatusConflict {
		t.Errorf("drained, right after the majority is gone: %v", err)
	}
	alone.until("the loss of its lease", func() bool { return alone.boot.Load().standing() == standing.CutOff })
	if got := alone.list(rootKey, ""); got.status != 503 || got.code != 50003 {
		t.Errorf("cut off: %+v", got)
	}
	if got := alone.list(rootKey, "consistency=stale"); got.status != 200 || !slices.Equal(got.channels, full.channels) {
		t.Errorf("cut off, asked for what it has: %+v", got)
	}
	for path, want := range map[string]int{"/events": 503, "/events?consistency=stale": 200, "/stats": 503} {
		if got := alone.status(http.MethodGet, path, rootKey); got != want {
			t.Errorf("GET %s, cut off: %d, want %d", path, got, want)
		}
	}
	alone.shows(503, 200)
	if got := alone.list("new.root:secret", ""); got.status != 503 {
		t.Errorf("cut off, a key that it does not know: %+v", got)
	}
	if _, err := alone.boot.Load().drain(t.Context(), ""); statusOf(err) != http.StatusConflict {
		t.Errorf("drained while cut off: %v", err)
	}
}

// shows looks at what operators are shown by a node that cannot know: the statuses of the meter, also of what the node has,
// and that all else of the log says that it may be old. The dashboard's page opens.
func (r *running) shows(meter, has int) {
	r.t.Helper()
	for path, want := range map[string]int{
		"/meter?unit=day": meter, "/meter?unit=day&consistency=stale": has, "/cluster": 200, "/rules": 200, "/dashboard/": 200,
	} {
		res, body := request(r.t, http.MethodGet, "http://"+r.AdminAddr()+path, "", "", nil)
		if res.StatusCode != want {
			r.t.Errorf("GET %s: %d, want %d: %s", path, res.StatusCode, want, body)
		}
		if path != "/cluster" && path != "/rules" {
			continue
		}
		var says struct{ Stale string }
		if err := json.Unmarshal(body, &says); err != nil || says.Stale == "" {
			r.t.Errorf("GET %s: stale is %q (%v)", path, says.Stale, err)
		}
	}
	if s := r.boot.Load().summary(r.t.Context()); s.Stale == "" {
		r.t.Error("the summary does not say so")
	}
}

// TestNobodyToJoin: a node that reaches nobody says so, and whom it tried; when it is stopped it claims to have handed
// nothing over.
func TestNobodyToJoin(t *testing.T) {
	cfg := settings(t.TempDir())
	nobody := freeAddr(t)
	cfg.Node.Join, cfg.Node.BootstrapExpect = []string{nobody}, 0
	n := run(t, cfg)
	n.until("word of it", func() bool {
		log := n.log.String()
		return strings.Contains(log, "no other node answers") && strings.Contains(log, nobody)
	})
	if err := n.Ready(); !strings.Contains(err.Error(), nobody) {
		t.Errorf("not ready: %v", err)
	}
	n.cancel()
	if err := n.end(); err != nil {
		t.Error(err)
	}
	if log := n.log.String(); strings.Contains(log, "handed over") {
		t.Errorf("it had nothing to hand over:\n%s", log)
	}
}
