package node

import (
	"net/http"
	"strings"
	"testing"
)

func TestHeadersHaveABound(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	for size, want := range map[int]int{60_000: http.StatusOK, 100_000: http.StatusRequestHeaderFieldsTooLarge} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.ClientAddr()+"/time", nil)
		req.Header.Set("X-Long", strings.Repeat("<", size))
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d bytes of headers: %s, want %d", size, res.Status, want)
		}
	}
}

func TestWhoAsksForAWebSocket(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"websocket"}, true},
		{[]string{"WebSocket"}, true},
		{[]string{"h2c"}, false},
		{[]string{"h2c, websocket"}, true},
		{[]string{"h2c", " websocket "}, true},
		{[]string{"websocket2"}, false},
		{[]string{"TLS/1.0"}, false},
	} {
		if got := asksForWebSocket(http.Header{"Upgrade": c.lines}); got != c.want {
			t.Errorf("Upgrade %q: %v, want %v", c.lines, got, c.want)
		}
	}
}
