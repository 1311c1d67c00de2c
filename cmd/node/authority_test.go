package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// testApp is a provisioned app.
type testApp struct {
	AppID string
	Keys  []struct{ KeyName, KeySecret, KeyStr string }
}

func (r *running) provision(body string) *testApp {
	r.t.Helper()
	app := &testApp{}
	res, b := request(r.t, http.MethodPost, "http://"+r.ClientAddr()+"/apps", "", "application/json", []byte(body))
	if err := json.Unmarshal(b, app); res.StatusCode != http.StatusCreated || err != nil {
		r.t.Fatalf("POST /apps: %s %s %v", res.Status, b, err)
	}
	return app
}

// status is what a request with a key is answered.
func (r *running) status(method, path, key string) int {
	r.t.Helper()
	res, _ := request(r.t, method, "http://"+r.ClientAddr()+path, key, "", nil)
	return res.StatusCode
}

// TestAppsAreOfTheCluster provisions on one node and uses it at once on another, also after that one started again, until
// the app is deleted.
func TestAppsAreOfTheCluster(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Auth.AppsAPI = true
	first := run(t, cfg).ready()
	dir := t.TempDir()
	later := joining(dir, first)
	later.Auth.AppsAPI = true
	second := run(t, later).ready()

	app := first.provision(`{"keys":[{},{"revocableTokens":true}],"namespaces":[{"id":"slow","vacatedDelay":3600000},{"id":"any","occupiedBy":"connections"}]}`)
	key := app.Keys[0].KeyStr
	if got := second.status(http.MethodGet, "/channels/x", key); got != http.StatusOK {
		t.Errorf("on another node: %d", got)
	}
	for _, n := range []*running{first, second} {
		b := n.boot.Load()
		settingsFor := settingsOf(n.cfg, b.authority.namespace, b.taps.Wants, b.limiting.ofChannel, b.lifecycle())
		if s := settingsFor(app.AppID, "slow:x"); s.VacateDelay != time.Hour {
			t.Errorf("vacate delay of a namespace: %v", s.VacateDelay)
		}
		if s := settingsFor(app.AppID, "any:x"); !s.OccupiedByConnections || s.VacateDelay != cfg.StateEvents.VacatedDelay {
			t.Errorf("settings of a namespace: %+v", s)
		}
		if s := settingsFor("demo", "slow:x"); s.VacateDelay != cfg.StateEvents.VacatedDelay {
			t.Errorf("settings of another app: %+v", s)
		}
	}

	second.cancel()
	if err := second.end(); err != nil {
		t.Fatal(err)
	}
	second = run(t, later).ready()
	c := second.connect("format=json&key=" + key)
	if got := first.status(http.MethodDelete, "/apps/demo", rootKey); got != http.StatusForbidden {
		t.Errorf("delete of an app of the configuration: %d", got)
	}
	if got := first.status(http.MethodDelete, "/apps/"+app.AppID, key); got != http.StatusNoContent {
		t.Errorf("delete: %d", got)
	}
	if pm := c.expect(protocol.ActionError); pm.Error.Code != protocol.CodeKeyRevoked {
		t.Errorf("the app's connection got %v", pm.Error)
	}
	if got := second.status(http.MethodGet, "/channels/x", key); got != http.StatusUnauthorized {
		t.Errorf("after the delete: %d", got)
	}
}

// TestAppsNeedTheSwitch has POST /apps off unless it is asked for.
func TestAppsNeedTheSwitch(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	if got := n.status(http.MethodPost, "/apps", ""); got != http.StatusNotFound {
		t.Errorf("POST /apps: %d", got)
	}
	if got := n.status(http.MethodDelete, "/apps/demo", rootKey); got != http.StatusNotFound {
		t.Errorf("DELETE /apps: %d", got)
	}
}

// TestNonceRace sends one token request to two nodes at once: one of them takes it.
func TestNonceRace(t *testing.T) {
	first := run(t, settings(t.TempDir())).ready()
	second := run(t, joining(t.TempDir(), first)).ready()
	for i := range 10 {
		r := auth.TokenRequest{KeyName: "demo.root", Timestamp: fmt.Sprint(time.Now().UnixMilli()), Nonce: fmt.Sprintf("nonce-number-%08d", i)}
		r.Sign("secret")
		body := jsonOf(t, map[string]string{"keyName": r.KeyName, "timestamp": r.Timestamp, "nonce": r.Nonce, "mac": r.MAC})
		var got [2]int
		var both sync.WaitGroup
		for k, n := range []*running{first, second} {
			both.Go(func() {
				res, err := http.Post("http://"+n.ClientAddr()+"/keys/demo.root/requestToken", "application/json", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
				got[k] = res.StatusCode
			})
		}
		both.Wait()
		if got != [2]int{201, 401} && got != [2]int{401, 201} {
			t.Errorf("nonce %d: %v", i, got)
		}
	}
}
