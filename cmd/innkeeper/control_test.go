package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestControlCommands changes everything there is to change on a running node.
func TestControlCommands(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.serve(t).ready(s)
	for _, c := range []struct {
		args []string
		code int
		says []string // parts of the output, or of what is wrong
	}{
		{[]string{"apps", "create", "shop", "--name", "Shop"}, exitOK, []string{"APP", "shop", "default", "enabled", "log"}},
		{[]string{"apps", "create", "shop"}, exitRefused, []string{`"shop" already; change that one`}},
		{[]string{"apps", "list"}, exitOK, []string{"shop", "configuration"}},
		{[]string{"apps", "update", "shop", "--status", "asleep"}, exitRefused, []string{"enabled or disabled"}},
		{[]string{"apps", "update", "shop", "--status", "disabled"}, exitOK, []string{"disabled"}},
		{[]string{"apps", "get", "none"}, exitRefused, []string{`no app "none"`}},
		{[]string{"keys", "create", "shop", "--id", "web", "--capability", `{"chat:*":["subscribe"]}`, "--revocable"}, exitOK, []string{"shop.web:", "true", `{"chat:*":["subscribe"]}`}},
		{[]string{"keys", "create", "shop", "--capability", "all"}, exitUsage, []string{"is not JSON"}},
		{[]string{"keys", "update", "shop", "web", "--no-revocable"}, exitOK, []string{"false"}},
		{[]string{"keys", "list", "shop"}, exitOK, []string{"web", "enabled"}},
		{[]string{"keys", "get", "shop", "web"}, exitOK, []string{"shop.web:"}},
		{[]string{"keys", "revoke", "shop", "web"}, exitOK, []string{"revoked"}},
		{[]string{"keys", "delete", "shop", "web"}, exitOK, []string{"key shop.web is deleted"}},
		{[]string{"namespaces", "create", "shop", "chat", "vacated_delay=2s", "presence_members=50"}, exitOK, []string{"chat", "2s", "50", "subscribers"}},
		{[]string{"namespaces", "update", "shop", "chat", "vacated_delay="}, exitOK, []string{"chat", "-", "50"}},
		{[]string{"namespaces", "update", "shop", "chat", "vacated_delay"}, exitUsage, []string{"KEY=VALUE"}},
		{[]string{"namespaces", "list", "shop"}, exitOK, []string{"chat"}},
		{[]string{"namespaces", "delete", "shop", "chat"}, exitOK, []string{"chat is deleted"}},
		{[]string{"rules", "create", "shop", "hook", "source=channel.state", "target.url=http://127.0.0.1:9/x", "target.lanes=2"}, exitOK, []string{"hook", "channel.state", "innkeeper", "http://127.0.0.1:9/x", "true"}},
		{[]string{"rules", "create", "shop", "bad", "source=channel.stat", "target.url=x"}, exitRefused, []string{"source", "channel.stat", "target.url"}},
		{[]string{"rules", "create", "shop", "bad", "source=channel.state", "target.url=http://127.0.0.1:9/x", "target.lanes=0"}, exitRefused, []string{"target.lanes", "from 1 to 256"}},
		{[]string{"rules", "update", "shop", "hook", "target.timeout=0s"}, exitRefused, []string{"target.timeout", "more than 0s"}},
		{[]string{"rules", "update", "shop", "hook", "target.lanes=", "target.batch_size=7"}, exitOK, []string{"hook"}},
		{[]string{"rules", "get", "shop", "hook", "--json"}, exitOK, []string{`"lanes": 8`, `"batch_size": 7`}},
		{[]string{"rules", "update", "shop", "hook", "target.lanes=2"}, exitOK, []string{"hook"}},
		{[]string{"rules", "update", "shop", "hook", "enabled=false"}, exitOK, []string{"false"}},
		{[]string{"rules", "get", "shop", "hook"}, exitOK, []string{"hook"}},
		{[]string{"rules", "list", "shop", "--json"}, exitOK, []string{`"lanes": 2`}},
		{[]string{"rules", "delete", "shop", "hook"}, exitOK, []string{"hook is deleted"}},
		{[]string{"limits", "update", "app/shop", "channels.hard=100", "channels.soft=80", "messageRate.hard=50"}, exitOK, []string{"app/shop", "channels", "80", "100", "calm", "messageRate"}},
		{[]string{"limits", "update", "account/default", "connections.hard=5000"}, exitOK, []string{"account/default", "5000"}},
		{[]string{"limits", "update", "app/shop", "channels.hard=lots"}, exitRefused, []string{"channels.hard", "whole number"}},
		{[]string{"limits", "update", "shop", "channels.hard=1"}, exitUsage, []string{"app/ID or account/ID"}},
		{[]string{"limits", "list"}, exitOK, []string{"account/default", "app/shop"}},
		{[]string{"limits", "get", "app/shop"}, exitOK, []string{"SCOPE", "messageRate"}},
		{[]string{"limits", "delete", "app/shop"}, exitOK, []string{"app/shop is deleted"}},
		{[]string{"apps", "delete", "shop"}, exitOK, []string{"app shop is deleted"}},
	} {
		code, out, errs := command(append(c.args, "--admin", s.admin)...)
		if code != c.code {
			t.Errorf("%q: code %d, want %d: %s%s", c.args, code, c.code, out, errs)
		}
		for _, part := range c.says {
			if !strings.Contains(out+errs, part) {
				t.Errorf("%q: %q is missing in\n%s%s", c.args, part, out, errs)
			}
		}
	}
	code, out, errs := command("apps", "list", "--json", "--admin", s.admin)
	if code != exitOK || !json.Valid([]byte(out)) {
		t.Errorf("as JSON: code %d, %s%s", code, out, errs)
	}
}

func TestKeyValues(t *testing.T) {
	got, err := keyValues([]string{"a.b=1", "a.c=x y", "d=", "e=[1,2]", "f=true", "g==", "h=\"1\""})
	b, _ := json.Marshal(got)
	if want := `{"a":{"b":1,"c":"x y"},"d":null,"e":[1,2],"f":true,"g":"=","h":"1"}`; err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
}
