package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// readerIP is where the pull API is read from.
const readerIP = "10.3.0.1"

// readWait bounds one request.
const readWait = 3 * time.Second

// Reader reads what nodes tell over HTTP. Its methods may be called from any goroutine.
type Reader struct {
	sim *Sim
	web *http.Client
}

// get reads one JSON answer of a node. next is the address of the page that follows, "" when there is none.
func (r *Reader) get(ctx context.Context, node int, pathQuery string, into any) (next string, err error) {
	return r.getFrom(ctx, r.sim.Addresses()[node], pathQuery, into)
}

// getFrom reads one JSON answer of an address.
func (r *Reader) getFrom(ctx context.Context, addr, pathQuery string, into any) (next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+pathQuery, nil)
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(keyName, keySecret)
	res, err := r.web.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s%s: %s: %.200s", addr, pathQuery, res.Status, body)
	}
	return nextLink(res.Header.Values("Link")), json.Unmarshal(body, into)
}

// Events reads a node's whole log after a seq.
func (r *Reader) Events(ctx context.Context, node int, after uint64) ([]Event, error) {
	var out []Event
	for {
		var page struct {
			First, Last uint64
			Events      []Event
		}
		if _, err := r.get(ctx, node, fmt.Sprintf("/events?after=%d&limit=1000", after), &page); err != nil {
			return nil, err
		}
		if len(page.Events) == 0 {
			return out, nil
		}
		out = append(out, page.Events...)
		after = page.Events[len(page.Events)-1].Seq
		if after >= page.Last {
			return out, nil
		}
	}
}

// Snapshot reads all occupied channels of a node, in pages of a size.
func (r *Reader) Snapshot(ctx context.Context, node, limit int) (Snapshot, error) {
	s := Snapshot{Node: node, Asked: time.Now()}
	cursor := ""
	for first := true; ; first = false {
		var page struct {
			AsOf     uint64    `json:"as_of"`
			Channels []Holding `json:"channels"`
			Next     string    `json:"next"`
		}
		if _, err := r.get(ctx, node, fmt.Sprintf("/occupied?limit=%d&cursor=%s", limit, url.QueryEscape(cursor)), &page); err != nil {
			return s, err
		}
		if !first && page.AsOf != s.AsOf {
			return s, fmt.Errorf("pages of one listing are as of %d and %d", s.AsOf, page.AsOf)
		}
		s.AsOf = page.AsOf
		s.Channels = append(s.Channels, page.Channels...)
		if page.Next == "" {
			s.At = time.Now()
			return s, nil
		}
		cursor = page.Next
	}
}

// Count asks a node for a channel's occupancy.
func (r *Reader) Count(ctx context.Context, node int, channel string) (Count, error) {
	var details struct {
		Status struct {
			Occupancy struct {
				Metrics map[string]int `json:"metrics"`
			} `json:"occupancy"`
		} `json:"status"`
	}
	_, err := r.get(ctx, node, "/channels/"+url.PathEscape(channel), &details)
	return Count{At: time.Now(), Node: node, Channel: channel, Metrics: details.Status.Occupancy.Metrics}, err
}

// List reads the names of all open channels, page by page, each page from another node.
func (r *Reader) List(ctx context.Context, limit int, node func(page int) int) ([]string, error) {
	var out []string
	query := fmt.Sprintf("?by=id&limit=%d", limit)
	for page := 0; ; page++ {
		var names []string
		next, err := r.get(ctx, node(page), "/channels"+query, &names)
		if err != nil {
			return out, err
		}
		out = append(out, names...)
		if next == "" {
			return out, nil
		}
		query = next
	}
}

// follow reads events and snapshots again and again, from changing nodes, until ctx ends. Nodes that do not answer are
// passed over: only what they do answer is judged. Events are asked of the next node at once then, since they are forgotten
// some day, and not behind snapshots, which may hang.
func (r *Reader) follow(ctx context.Context, every time.Duration) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for turn := 0; !pause(ctx.Done(), every); turn++ {
			if snap, err := r.Snapshot(ctx, turn%len(r.sim.Addresses()), 5+turn%7); err == nil {
				r.sim.rec.record(func(h *History) { h.Snapshots = append(h.Snapshots, snap) })
			}
			r.web.CloseIdleConnections() // what a node comes to is not to hang on an old connection
		}
	})
	var log []Event
	for turn := 0; !pause(ctx.Done(), every); turn++ {
		nodes := len(r.sim.Addresses())
		for i := range nodes {
			after := uint64(0)
			if len(log) > 0 {
				after = log[len(log)-1].Seq
			}
			soon, cancel := context.WithTimeout(ctx, time.Second)
			evs, err := r.Events(soon, (turn+i)%nodes, after)
			cancel()
			if err == nil {
				log = append(log, evs...)
				break
			}
		}
	}
	r.sim.rec.record(func(h *History) { h.Logs = append(h.Logs, log) })
}
