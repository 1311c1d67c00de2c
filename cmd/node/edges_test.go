package node

import (
	"net/http"
	"testing"
)

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
