package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"innkeeper/channel"
)

// Members come in pages whose links carry the whole state, however little the owner answers at once.
func TestMembersArePaged(t *testing.T) {
	b, h := setup(t)
	b.members = map[string][]channel.Member{"room": nil}
	for i := range 11 {
		b.members["room"] = append(b.members["room"], channel.Member{Action: channel.Present, ConnID: "c", ClientID: fmt.Sprintf("m%02d", i)})
	}
	for query, want := range map[string][]int{"?limit=4": {4, 4, 3}, "": {11}, "?clientId=m03": {1}, "?connectionId=x": {0}} {
		var sizes []int
		for next := "/channels/room/presence" + query; next != ""; {
			w := do(h, "GET", next, "")
			var members []struct{ ClientID string }
			if err := json.Unmarshal(w.Body.Bytes(), &members); err != nil || w.Code != 200 {
				t.Fatalf("%s: %d %s", next, w.Code, w.Body)
			}
			sizes, next = append(sizes, len(members)), ""
			for _, l := range w.Header().Values("Link") {
				if url, ok := strings.CutSuffix(l, `>; rel="next"`); ok {
					next = "/channels/room" + strings.TrimPrefix(url, "<.")
				}
			}
		}
		if fmt.Sprint(sizes) != fmt.Sprint(want) {
			t.Errorf("%q gives pages of %v, want %v", query, sizes, want)
		}
	}
}

func TestPresenceOfSeveralChannels(t *testing.T) {
	b, h := setup(t)
	b.members = map[string][]channel.Member{"foo:a": {{Action: channel.Present, ConnID: "c", ClientID: "m"}}}
	for _, c := range []struct {
		version string
		status  int
		has     []string
	}{
		{"3", 200, []string{`"successCount":1,"failureCount":1`, `{"channel":"foo:a","presence":[{"action":1`, `"code":40160`}},
		{"2", 400, []string{`"code":40020`, `"batchResponse":[`}},
	} {
		w := do(h, "GET", "/presence?channels=foo:a,bar", "", "Authorization: "+basic("demo.foo:secret"), "X-Ably-Version: "+c.version)
		for _, has := range c.has {
			if w.Code != c.status || !strings.Contains(w.Body.String(), has) {
				t.Errorf("version %s: %d %s, want %d with %s", c.version, w.Code, w.Body, c.status, has)
			}
		}
	}
}
