package node

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// TestLimitMetrics meets limits of an app and of its account: the metrics say how each stands and what it refused, and
// nothing of either counts for the other.
func TestLimitMetrics(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	n.steer("PATCH", "/apps/demo/limits", `{"channels":{"hard":2},"messageSize":{"hard":1024}}`, 200, nil)
	n.steer("PATCH", "/accounts/default/limits", `{"channels":{"soft":1},"apiRequestRate":{"soft":1000}}`, 200, nil)
	publish := func(channel, data string) {
		t.Helper()
		request(t, "POST", "http://"+n.ClientAddr()+"/channels/"+channel+"/messages", rootKey, "application/json", fmt.Appendf(nil, `{"data":%q}`, data))
	}
	for _, channel := range []string{"a", "b", "c", "d", "e"} {
		publish(channel, "x")
	}
	publish("a", strings.Repeat("x", 1025))
	c := n.connect("format=json")
	c.send([]byte(`{"action":15,"channel":"a","msgSerial":0,"messages":[{"data":"` + strings.Repeat("x", 1025) + `"}]}`))
	c.next()
	for _, line := range []string{
		`innkeeper_limit{id="demo",limit="channels",scope="app",threshold="hard"} 2`,
		`innkeeper_limit{id="default",limit="channels",scope="account",threshold="soft"} 1`,
		`innkeeper_limit_value{id="demo",limit="channels",scope="app"} 2`,
		`innkeeper_limit_value{id="default",limit="channels",scope="account"} 2`,
		`innkeeper_limit_level{id="demo",limit="channels",scope="app"} 2`,
		`innkeeper_limit_level{id="default",limit="channels",scope="account"} 1`,
		`innkeeper_limit_level{id="default",limit="apiRequestRate",scope="account"} 0`,
		`innkeeper_limit_refused_total{id="demo",limit="channels",scope="app"} 3`,
		`innkeeper_limit_refused_total{id="default",limit="channels",scope="account"} 0`,
		`innkeeper_limit_refused_total{id="demo",limit="messageSize",scope="app"} 2`,
	} {
		n.until(line, func() bool {
			_, body := request(t, "GET", "http://"+n.AdminAddr()+"/metrics", "", "", nil)
			return strings.Contains("\n"+string(body), "\n"+line+"\n")
		})
	}
	if _, body := request(t, "GET", "http://"+n.AdminAddr()+"/metrics", "", "", nil); strings.Contains(string(body), `innkeeper_limit_value{id="demo",limit="messageSize"`) {
		t.Error("a limit of one publish has a value of all together")
	}
}

// TestLimitsOfNewApps gives apps that are made at run time the limits of the configuration, however they are made. What is
// set by hand stays, through a restart with another configuration too; apps of the configuration have none.
func TestLimitsOfNewApps(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Auth.AppsAPI = true
	cfg.Limits.NewApps = map[string]map[string]int{"channels": {"soft": 2, "hard": 3}}
	n := run(t, cfg).ready()
	limitsOf := func(n *running, app string) string {
		t.Helper()
		var shown struct{ Limits map[string]map[string]int }
		n.steer("GET", "/apps/"+app+"/limits", "", 200, &shown)
		return fmt.Sprint(shown.Limits)
	}
	var key struct{ Key string }
	n.steer("POST", "/accounts/acme/apps", `{"id":"shop"}`, 201, nil)
	n.steer("POST", "/apps/shop/keys", `{}`, 201, &key)
	c := n.connect("format=json&key=" + url.QueryEscape(key.Key))
	for _, name := range []string{"a", "b", "c"} {
		c.attach(name)
	}
	if code := c.refused("d"); code != 40114 {
		t.Errorf("one too many is refused with %d", code)
	}
	res, body := request(t, "POST", "http://"+n.ClientAddr()+"/apps", "", "application/json", []byte(`{"keys":[{}]}`))
	var provisioned struct{ AppID string }
	if err := json.Unmarshal(body, &provisioned); err != nil || res.StatusCode != 201 {
		t.Fatalf("POST /apps: %s %s", res.Status, body)
	}
	for app, want := range map[string]string{"shop": "map[channels:map[hard:3 soft:2]]", provisioned.AppID: "map[channels:map[hard:3 soft:2]]", "demo": "map[]"} {
		if got := limitsOf(n, app); got != want {
			t.Errorf("app %s has %s, want %s", app, got, want)
		}
	}
	n.steer("PATCH", "/apps/shop/limits", `{"channels":{"hard":4}}`, 200, nil)
	c.attach("d")
	n.cancel()
	n.end()
	cfg.Limits.NewApps = map[string]map[string]int{"channels": {"hard": 1}}
	again := run(t, cfg).ready()
	again.steer("POST", "/accounts/acme/apps", `{"id":"later"}`, 201, nil)
	for app, want := range map[string]string{"shop": "map[channels:map[hard:4 soft:2]]", "later": "map[channels:map[hard:1]]"} {
		if got := limitsOf(again, app); got != want {
			t.Errorf("after a restart app %s has %s, want %s", app, got, want)
		}
	}
}
