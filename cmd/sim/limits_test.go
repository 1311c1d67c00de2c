package sim

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// steer sends a change to the control API of a node.
func steer(t *testing.T, s *Sim, node int, method, path, body string) string {
	t.Helper()
	addr := fmt.Sprintf("%s:%d", nodeIP(node), adminPort)
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+addr+"/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := httpClient(s.Net.Host("10.9.9.9"), false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s", method, path, res.Status, b)
	}
	return string(b)
}

// publish opens a channel, or asks for it, by REST. It returns the status.
func publish(t *testing.T, s *Sim, node int, channel string) int {
	addr := s.Addresses()[node]
	req, err := http.NewRequestWithContext(context.Background(), "POST", "http://"+addr+"/channels/"+channel+"/messages", strings.NewReader(`{"data":"x"}`))
	if err != nil {
		t.Error(err)
		return 0
	}
	name, secret, _ := strings.Cut(Key, ":")
	req.SetBasicAuth(name, secret)
	res, err := httpClient(s.Net.Host("10.9.9.8"), false).Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// awaitEven waits until all nodes serve their shares of the partitions: what happens then happens to a cluster at rest.
func awaitEven(t *testing.T, s *Sim) {
	t.Helper()
	if !await(time.Minute, 100*time.Millisecond, func() bool { return s.Ready() && s.Even() }) {
		t.Fatal("the cluster is not ready")
	}
}

// openNow is how many channels the cluster has open.
func openNow(t *testing.T, s *Sim, node int) int {
	t.Helper()
	list := stats(t, s, node, "minute")
	return int(peak(list, "channels.peak"))
}

// TestHardLimitOnThreeNodes opens far more channels than may be, from all nodes at once: no more than the limit are ever
// open, all of the limit is used, refused ones are counted, and raising it lets the next ones in. Then the leader dies with
// the limit used up, and another leader lets in no more.
func TestHardLimitOnThreeNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(23, Options{Clients: -1, NoHooks: true, Hasty: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		awaitEven(t, s)
		const hard, tries = 100, 300
		steer(t, s, 0, "PATCH", "/apps/"+App+"/limits", fmt.Sprintf(`{"channels":{"hard":%d}}`, hard))
		time.Sleep(time.Second)
		burst := func(prefix string) map[int]int {
			var mu sync.Mutex
			var wg sync.WaitGroup
			got := map[int]int{}
			for i := range tries {
				wg.Go(func() {
					status := publish(t, s, i%3, fmt.Sprintf("%s:%d", prefix, i))
					mu.Lock()
					defer mu.Unlock()
					got[status]++
				})
			}
			wg.Wait()
			return got
		}
		if got := burst("first"); got[201] != hard || got[401] != tries-hard {
			t.Errorf("of %d channels with a limit of %d: %v, want %d opened and the rest refused with 401", tries, hard, got, hard)
		}
		var open int
		var refused float64
		if !await(8*time.Second, 100*time.Millisecond, func() bool { // figures are committed every five seconds at least
			open, refused = openNow(t, s, 1), total(stats(t, s, 2, "minute"), "channels.refused")
			return open == hard && refused == tries-hard
		}) {
			t.Errorf("%d channels were open at once, want %d; %v were counted as refused, want %d", open, hard, refused, tries-hard)
		}
		s.Leader().Kill(true)
		time.Sleep(8 * time.Second)
		ready2 := func() bool { return s.Leader() != nil }
		if !await(time.Minute, 100*time.Millisecond, ready2) {
			t.Fatal("no leader")
		}
		for _, n := range s.Nodes() {
			if !n.Up() {
				n.Start()
			}
		}
		awaitEven(t, s)
		time.Sleep(3 * time.Second)
		if got := burst("second"); got[201] > hard {
			t.Errorf("with a new leader: %v", got)
		}
		time.Sleep(2 * time.Second)
		if n := openNow(t, s, 0); n > hard {
			t.Errorf("%d channels were open at once after the leader's death, the limit is %d", n, hard)
		}
		steer(t, s, 1, "PATCH", "/apps/"+App+"/limits", fmt.Sprintf(`{"channels":{"hard":%d}}`, hard+50))
		time.Sleep(time.Second)
		got := burst("third")
		time.Sleep(2 * time.Second)
		if n := openNow(t, s, 2); got[201] == 0 || n > hard+50 {
			t.Errorf("with 50 more: %v, %d at once", got, n)
		}
	})
}
