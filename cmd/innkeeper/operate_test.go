package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBackupAndRestore saves a running node, loses it, and goes on from the file as another cluster.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, filepath.Join(dir, "data"))
	p := s.serve(t).ready(s)
	s.attach(t, "chat:returns", "chat:gone")
	before, held := s.events(t), s.occupied(t)
	file := filepath.Join(dir, "backup")
	if code, out, errs := command("backup", file, "--admin", s.admin); code != exitOK || !strings.Contains(out, "seq 2, 2 channels occupied, 8 partitions") {
		t.Fatalf("code %d, %s%s", code, out, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if code, _, errs := command("backup", file, "--admin", s.admin); code != exitRefused || !strings.Contains(errs, "is there already") {
		t.Errorf("once more: code %d, %s", code, errs)
	}
	nowhere := filepath.Join(dir, "none", "backup")
	if code, _, errs := command("backup", nowhere, "--admin", s.admin); code != exitRefused || !strings.Contains(errs, nowhere+" cannot be written: no such file or directory") || strings.Contains(errs, "tmp:") {
		t.Errorf("into a directory that is not there: code %d, %s", code, errs)
	}
	p.kill()
	if code, _, errs := command("restore", file, "--data-dir", s.dir); code != exitRefused || !strings.Contains(errs, "not empty") {
		t.Errorf("into the old directory: code %d, %s", code, errs)
	}
	again := newSite(t, filepath.Join(dir, "restored"))
	if code, out, errs := command("restore", file, "--data-dir", again.dir); code != exitOK || !strings.Contains(out, "of the new cluster") {
		t.Fatalf("code %d, %s%s", code, out, errs)
	}
	again.serve(t).ready(again)
	if now := again.occupied(t); fmt.Sprint(now) != fmt.Sprint(held) {
		t.Errorf("occupied was %+v and is %+v", held, now)
	}
	again.attach(t, "chat:returns")
	for deadline := time.Now().Add(patience); len(again.occupied(t)) > 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still occupied: %+v", again.occupied(t))
		}
	}
	after := again.events(t)
	if len(after) != 3 || fmt.Sprint(after[:2]) != fmt.Sprint(before) {
		t.Fatalf("events were %+v and are %+v", before, after)
	}
	if e := after[2]; e.Type != "vacated" || e.Channel != "chat:gone" || e.Seq != 3 || strings.Split(e.ID, "-")[0] == strings.Split(before[0].ID, "-")[0] {
		t.Errorf("got %+v", e)
	}
}

func TestDamagedBackup(t *testing.T) {
	for name, body := range map[string]string{"cut": "innkeeper backup 1\nxyz", "other": "<html>", "empty": ""} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) }))
		dir := t.TempDir()
		code, _, errs := command("backup", filepath.Join(dir, "backup"), "--admin", server.URL)
		if entries, _ := os.ReadDir(dir); code != exitRefused || !strings.Contains(errs, "cannot be used") || len(entries) > 0 {
			t.Errorf("%s: code %d, %s, left %v", name, code, errs, entries)
		}
		server.Close()
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, errs = command("restore", file, "--data-dir", filepath.Join(dir, "data"))
		if entries, _ := os.ReadDir(dir); code != exitRefused || !strings.Contains(errs, "cannot be used") || len(entries) > 1 {
			t.Errorf("restore %s: code %d, %s, left %v", name, code, errs, entries)
		}
	}
}

// TestDrainIsWatched: the command tells how far the node is, and ends when it is gone, by whatever sign.
func TestDrainIsWatched(t *testing.T) {
	member := func(state string, owned int) string {
		return fmt.Sprintf(`{"members":[{"node":"n1","state":"alive","partitions_owned":3},{"node":"n2","state":%q,"partitions_owned":%d}]}`, state, owned)
	}
	for name, c := range map[string]struct {
		args   []string
		states []string // then the server is gone
		code   int
		says   string
	}{
		"another": {[]string{"n2"}, []string{member("alive", 3), member("leaving", 3), member("leaving", 1), member("leaving", 0), member("dead", 0)}, exitOK,
			"n2 is being drained\n  3 partitions left\n  1 partitions left\n  all partitions are with others; its clients are sent there\nn2 has stopped"},
		"the one asked": {nil, []string{member("leaving", 2), member("leaving", 0)}, exitOK, "clients are sent there\nn2 has stopped"},
		"removed":       {nil, []string{`{"members":[]}`}, exitOK, "n2 has stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := ""
			var server *httptest.Server
			server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost:
					asked = r.URL.RequestURI()
					fmt.Fprint(w, `{"draining":"n2"}`)
				case len(c.states) == 0:
					panic(http.ErrAbortHandler)
				default:
					fmt.Fprint(w, c.states[0])
					c.states = c.states[1:]
				}
			}))
			defer server.Close()
			code, out, errs := command(append(append([]string{"drain"}, c.args...), "--admin", server.URL)...)
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("code %d, %s%s", code, out, errs)
			}
			if want := map[bool]string{true: "/cluster/drain", false: "/cluster/members/n2/drain"}[c.args == nil]; asked != want {
				t.Errorf("asked %s", asked)
			}
		})
	}
	last := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"error":{"message":"no other node is alive","statusCode":409}}`)
	}))
	defer last.Close()
	if code, out, errs := command("drain", "--admin", last.URL); code != exitRefused || !strings.Contains(errs, "no other node") {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
}

// TestOperatorCommands: they ask what they should, follow to the leader, and say what a node refuses.
func TestOperatorCommands(t *testing.T) {
	var asked []string
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		if strings.Contains(r.URL.Path, "alive") {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"error":{"message":"node alive is alive; stop it first","statusCode":409}}`)
			return
		}
		fmt.Fprint(w, `{"leader":"n2","removed":"n3"}`)
	}))
	defer leader.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, leader.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	defer other.Close()
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"cluster", "leader", "transfer"}, exitOK, "n2 leads"},
		{[]string{"cluster", "remove", "n3"}, exitOK, "n3 is removed"},
		{[]string{"cluster", "remove", "n/3", "--force"}, exitOK, "n3 is removed"},
		{[]string{"cluster", "remove", "alive"}, exitRefused, "stop it first"},
		{[]string{"cluster", "remove"}, exitUsage, "expected"},
	} {
		code, out, errs := command(append(test.args, "--admin", other.URL)...)
		if code != test.code || !strings.Contains(out+errs, test.says) {
			t.Errorf("%v: code %d, %s%s", test.args, code, out, errs)
		}
	}
	want := "[POST /cluster/leader/transfer POST /cluster/members/n3/remove POST /cluster/members/n%2F3/remove?force=true POST /cluster/members/alive/remove]"
	if fmt.Sprint(asked) != want {
		t.Errorf("asked %v, want %s", asked, want)
	}
}
