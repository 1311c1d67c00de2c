package node

import (
	"fmt"
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
