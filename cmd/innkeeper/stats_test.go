package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestStats(t *testing.T) {
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, secret, _ := r.BasicAuth()
		asked = r.URL.RequestURI() + " " + name + ":" + secret
		io.WriteString(w, `[{"intervalId":"2026-03","unit":"month","inProgress":"2026-03-04:15:03","schema":"s","entries":{"channels.peak":501,"channels.mean":7.25}}]`)
	}))
	defer server.Close()
	code, out, errs := command("stats", "--url", server.URL, "--key", "demo.root:secret", "--unit", "month", "--start", "2026")
	if code != exitOK || asked != "/stats?limit=20&start=2026&unit=month&v=6 demo.root:secret" {
		t.Fatalf("code %d, asked %s, errors %s", code, asked, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "INTERVAL (UTC)  CHANNELS PEAK") {
		t.Fatalf("shows\n%s", out)
	}
	if got := strings.Fields(lines[1]); got[0] != "2026-03*" || got[1] != "501" || got[2] != "7.2" {
		t.Errorf("shows %q", got)
	}
	if code, out, _ = command("stats", "--url", server.URL, "--key", "demo.root:secret", "--json"); code != exitOK || !strings.Contains(out, `"channels.peak":501`) {
		t.Errorf("code %d, shows %s", code, out)
	}
	if code, _, errs := command("stats"); code != exitUsage || !strings.Contains(errs, "key") {
		t.Errorf("without a key: code %d, %s", code, errs)
	}
}
