// Command chaos kills real Innkeeper processes with -9 and checks, at the webhook receiver, that no event is lost,
// invented or reordered. It uses loopback addresses only and ends every process it started.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	var (
		bin      = flag.String("innkeeper", "bin/innkeeper", "the innkeeper binary")
		quick    = flag.Bool("quick", false, "400 channels a side instead of 2,000")
		channels = flag.Int("channels", 0, "channels a side, overrides -quick")
		only     = flag.String("only", "", "run only scenarios whose name contains this")
		keep     = flag.Bool("keep", false, "keep the directory with configurations and logs")
	)
	flag.Parse()
	n := 2000
	if *quick {
		n = 400
	}
	if *channels > 0 {
		n = *channels
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	passed, failed := 0, 0
	for i, sc := range scenarios() {
		if !strings.Contains(sc.name, *only) {
			continue
		}
		start := time.Now()
		said, err := play(ctx, *bin, n, *keep, i, sc)
		if err != nil {
			failed++
			fmt.Printf("FAIL  %s (%.1f s)\n      %v\n", sc.name, time.Since(start).Seconds(), err)
			continue
		}
		passed++
		fmt.Printf("ok    %s (%.1f s)\n      %s\n", sc.name, time.Since(start).Seconds(), said)
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

// play runs one scenario on a cluster of its own. What it leaves is removed unless it failed.
func play(ctx context.Context, bin string, channels int, keep bool, i int, sc scenario) (said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "innkeeper-chaos-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err == nil && !keep {
			os.RemoveAll(dir)
		} else {
			fmt.Printf("      logs: %s\n", filepath.Join(dir, "n*", "log"))
		}
	}()
	s, err := newStage(ctx, bin, dir, channels)
	if err != nil {
		return "", err
	}
	defer s.close()
	return sc.run(ctx, s)
}

// pull reads all events of the demo app from one node.
func pull(p *proc) ([]event, error) {
	var all []event
	for after := uint64(0); ; {
		req, err := http.NewRequest("GET", fmt.Sprintf("http://%s/events?after=%d&limit=1000", p.listen, after), nil)
		if err != nil {
			return nil, err
		}
		id, secret, _ := strings.Cut(demoKey, ":")
		req.SetBasicAuth(id, secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		var page struct {
			Last   uint64  `json:"last"`
			Events []event `json:"events"`
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("GET /events on %s: %w", p.name, err)
		}
		all = append(all, page.Events...)
		if len(page.Events) == 0 {
			return all, nil
		}
		after = page.Events[len(page.Events)-1].Seq
	}
}
