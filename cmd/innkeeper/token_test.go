package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"innkeeper/transport/control"
)

const adminToken = "a-token-of-the-operators"

// asOperator runs a command line that ends by itself, with a variable in its environment, and returns all it says.
func asOperator(variable string, args ...string) (code int, said string) {
	var out buffer
	code = run(args, world{environ: []string{variable}, stdout: &out, stderr: &out, signals: make(chan os.Signal), exit: func(int) {}})
	return code, out.String()
}

// TestTokenIsShown: a node with tokens wants one for each of these commands, and takes it from the variable and from the
// flag. The node has the variable in its environment as well.
func TestTokenIsShown(t *testing.T) {
	t.Setenv("INNKEEPER_ADMIN_TOKEN", adminToken)
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.serve(t, "--admin.tokens", adminToken).ready(s)
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		says string // once the token was taken
	}{
		{[]string{"backup", filepath.Join(dir, "backup")}, "8 partitions"},
		{[]string{"cluster", "leader", "transfer"}, "no other node with a vote"},
		{[]string{"cluster", "remove", "nobody"}, "there is no node nobody"},
		{[]string{"cluster", "repartition", "8"}, "8 partitions already"},
		{[]string{"rules", "create", "demo", "hook", "source=channel.state", "target.url=http://127.0.0.1:9/x"}, "hook"},
		{[]string{"events", "replay", "--rule", "hook", "--from", "1"}, "nothing to send again"},
		{[]string{"drain", "nobody"}, "there is no node nobody"},
	} {
		t.Run(strings.Join(c.args[:2], " "), func(t *testing.T) {
			args := append(c.args, "--admin", s.admin)
			for _, wrong := range []string{"NO=token", "INNKEEPER_ADMIN_TOKEN=another"} {
				if code, said := asOperator(wrong, args...); code != exitRefused || !strings.Contains(said, "admin.tokens") {
					t.Errorf("%s: code %d, %s", wrong, code, said)
				}
			}
			if _, said := asOperator("INNKEEPER_ADMIN_TOKEN="+adminToken, args...); !strings.Contains(said, c.says) {
				t.Errorf("by the variable: %s", said)
			}
			os.Remove(filepath.Join(dir, "backup"))
			_, said := asOperator("INNKEEPER_ADMIN_TOKEN=another", append(args, "--token", adminToken)...)
			if strings.Contains(said, "admin.tokens") {
				t.Errorf("by the flag: %s", said)
			}
		})
	}
}

// serveOn serves at an address of the loopback network until the test ends.
func serveOn(t *testing.T, host string, h http.Handler) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// TestTokenGoesToTheLeader: the node that is asked sends the command to the leader, which is another host.
func TestTokenGoesToTheLeader(t *testing.T) {
	access := control.Access{Tokens: []string{adminToken}}
	leader := serveOn(t, "127.0.0.2", access.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"leader":"n2","removed":"n3"}`)
	})))
	sendOn := access.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", leader.URL+r.URL.RequestURI())
		w.WriteHeader(http.StatusTemporaryRedirect)
		fmt.Fprint(w, `{"error":{"message":"only the leader can do this, at `+leader.URL+`","statusCode":307}}`)
	}))
	variable := "INNKEEPER_ADMIN_TOKEN=" + adminToken
	for _, args := range [][]string{{"cluster", "leader", "transfer"}, {"cluster", "remove", "n3"}} {
		if code, said := asOperator(variable, append(args, "--admin", serveOn(t, "127.0.0.1", sendOn).URL)...); code != exitOK {
			t.Errorf("%v: code %d, %s", args, code, said)
		}
	}
	t.Run("not out of TLS", func(t *testing.T) {
		l := httptest.NewTLSServer(sendOn)
		defer l.Close()
		was := admins.Transport
		defer func() { admins.Transport = was }()
		admins.Transport = l.Client().Transport
		code, said := asOperator(variable, "cluster", "leader", "transfer", "--admin", l.URL)
		if code != exitRefused || !strings.Contains(said, "only the leader can do this, at "+leader.URL) {
			t.Errorf("code %d, %s", code, said)
		}
	})
	t.Run("not in circles", func(t *testing.T) {
		var circle *httptest.Server
		circle = serveOn(t, "127.0.0.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", circle.URL+r.URL.RequestURI())
			w.WriteHeader(http.StatusTemporaryRedirect)
			fmt.Fprint(w, `{"error":{"message":"ask another","statusCode":307}}`)
		}))
		if code, said := asOperator(variable, "cluster", "leader", "transfer", "--admin", circle.URL); code != exitRefused || !strings.Contains(said, "ask another") {
			t.Errorf("code %d, %s", code, said)
		}
	})
}
