package node

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"innkeeper/transport/admin"
)

// TestAdminIndex: GET /, to which the text of a 404 sends people, lists what there is, and all of it is there.
func TestAdminIndex(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	var index struct{ Endpoints []admin.Endpoint }
	if _, body := request(t, "GET", "http://"+n.AdminAddr()+"/", "", "", nil); json.Unmarshal(body, &index) != nil {
		t.Fatalf("got %s", body)
	}
	for _, path := range []string{"/readyz", "/metrics", "/live", "/channel", "/meter", "/dashboard/", "/v1/apps", "/openapi.json", "/debug/pprof/"} {
		if !slices.ContainsFunc(index.Endpoints, func(e admin.Endpoint) bool { return e.Path == path }) {
			t.Errorf("%s is not listed", path)
		}
	}
	for _, e := range index.Endpoints {
		if e.Method != "" {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context()) // some of them never end
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+n.AdminAddr()+e.Path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == http.StatusNotFound || e.Is == "" {
			t.Errorf("%s (%s): %s", e.Path, e.Is, res.Status)
		}
		cancel()
		res.Body.Close()
	}
}
