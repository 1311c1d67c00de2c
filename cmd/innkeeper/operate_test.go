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
