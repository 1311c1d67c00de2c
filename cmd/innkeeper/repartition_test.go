package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRepartitionCommand follows the progress to its end, or says how far it got.
func TestRepartitionCommand(t *testing.T) {
	open := []int{-1, 0, 12, 12, 16}
	stuck := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 16
		switch {
		case r.Method == http.MethodPost && r.URL.Query().Get("partitions") == "24":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"message":"24 partitions: want a power of two from 8 to 4096","statusCode":400}}`)
			return
		case r.Method == http.MethodPost:
			fmt.Fprint(w, `{"partitions":16,"open":0,"before":8}`)
			return
		case stuck:
			n = 12
		case len(open) > 1:
			n, open = open[0], open[1:]
		}
		if n < 0 { // a node that lags still shows the old number
			fmt.Fprint(w, `{"partitions":8,"open":8}`)
			return
		}
		fmt.Fprintf(w, `{"partitions":16,"open":%d,"before":8}`, n)
	}))
	defer server.Close()
	code, out, errs := command("cluster", "repartition", "16", "--admin", server.URL)
	if code != exitOK || strings.Count(out, "\n") != 4 || !strings.HasPrefix(out, "16 partitions instead of 8\n0 of 16 open after") || !strings.Contains(out, "\n16 of 16 open after") {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
	if code, out, errs := command("cluster", "repartition", "16", "--wait", "0s", "--admin", server.URL); code != exitOK || out != "16 partitions instead of 8\n" {
		t.Errorf("without waiting: code %d, %s%s", code, out, errs)
	}
	if code, _, errs := command("cluster", "repartition", "24", "--admin", server.URL); code == exitOK || !strings.Contains(errs, "24 partitions: want a power of two") {
		t.Errorf("24: code %d, %s", code, errs)
	}
	if code, _, errs := command("cluster", "repartition", "16", "--wait=-1s", "--admin", server.URL); code != exitUsage || !strings.Contains(errs, "-1s is negative") {
		t.Errorf("-1s: code %d, %s", code, errs)
	}
	stuck = true
	if code, _, errs := command("cluster", "repartition", "16", "--wait", "300ms", "--admin", server.URL); code != exitRefused || !strings.Contains(errs, "only 12 of 16 partitions are open") {
		t.Errorf("stuck: code %d, %s", code, errs)
	}
}

// TestRepartitionOfANode does it with a process, whose configuration goes on naming the old number.
func TestRepartitionOfANode(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	p := s.serve(t).ready(s)
	s.attach(t, "chat:a", "chat:b")
	before := s.events(t)
	for _, n := range []string{"64", "16"} {
		if code, out, errs := command("cluster", "repartition", n, "--admin", s.admin); code != exitOK || !strings.Contains(out, n+" of "+n+" open") {
			t.Fatalf("code %d, %s%s", code, out, errs)
		}
		if code, _, errs := command("cluster", "repartition", n, "--admin", s.admin); code != exitRefused || !strings.Contains(errs, n+" partitions already") {
			t.Errorf("the same again: code %d, %s", code, errs)
		}
		if _, out, _ := command("cluster", "partitions", "--admin", s.admin); strings.Count(out, "\n") != 1+map[string]int{"64": 64, "16": 16}[n] {
			t.Errorf("after %s: %s", n, out)
		}
	}
	p.kill()
	s.serve(t).ready(s)
	if _, out, _ := command("cluster", "status", "--admin", s.admin); !strings.Contains(out, "16, 0 without an owner") {
		t.Errorf("after a restart: %s", out)
	}
	s.attach(t, "chat:b")
	for deadline := time.Now().Add(patience); len(s.occupied(t)) > 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still occupied: %+v", s.occupied(t))
		}
	}
	if after := s.events(t); len(after) != 3 || fmt.Sprint(after[:2]) != fmt.Sprint(before) || after[2].Type != "vacated" || after[2].Channel != "chat:a" {
		t.Errorf("events were %+v and are %+v", before, after)
	}
}
