package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"innkeeper/cmd/checker"
	"innkeeper/cmd/consumer/mirror"
)

// puller is a consumer that keeps a table by pulling, from whichever node answers. Every life of it goes on with the table
// of the one before, or has lost that.
type puller struct {
	procs []*proc
	rng   *rand.Rand // of run

	mu    sync.Mutex
	table mirror.Table   // of the present life, as it was last
	seen  []mirror.Table // some of all
	lives int            // that began
	lost  int            // of those, without a table
	made  int            // tables made anew
}

const (
	pullers  = 2
	lifeMin  = 10 * time.Second // of a puller, at least; at most three times as much
	seenMost = 2000             // tables kept of one puller
)

// run lives until ctx ends; after calm is closed it dies no more.
func (p *puller) run(ctx context.Context, calm <-chan struct{}) error {
	for ctx.Err() == nil {
		life, end := context.WithCancel(ctx)
		timer := time.AfterFunc(lifeMin+time.Duration(p.rng.Int64N(int64(2*lifeMin))), func() {
			select {
			case <-calm:
			default:
				end()
			}
		})
		err := p.live(life)
		timer.Stop()
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

// live is one life.
func (p *puller) live(ctx context.Context) error {
	p.mu.Lock()
	with := p.table
	p.lives++
	if p.rng.IntN(3) == 0 {
		with = mirror.Table{}
		p.lost++
	}
	p.mu.Unlock()
	var nodes []string
	for _, i := range p.rng.Perm(len(p.procs)) {
		nodes = append(nodes, "http://"+p.procs[i].listen)
	}
	web := &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: dialMax}).DialContext, ResponseHeaderTimeout: dialMax,
	}}
	defer web.CloseIdleConnections()
	return mirror.New(mirror.Config{Nodes: nodes, Key: demoKey, Client: web, Changed: p.note}, with).Run(ctx)
}

// note keeps the table, for the next life and for the judge.
func (p *puller) note(t *mirror.Table, e *mirror.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table = mirror.Table{Seq: t.Seq, Channels: maps.Clone(t.Channels)}
	if e == nil {
		p.made++
	}
	if (e == nil || t.Seq%7 == 0) && len(p.seen) < seenMost {
		p.seen = append(p.seen, p.table)
	}
}

// behind says what it lacks of a log.
func (p *puller) behind(log []checker.Event) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(log) > 0 && p.table.Seq < log[len(log)-1].Seq {
		return fmt.Sprintf("a consumer that pulls is at %d of %d", p.table.Seq, log[len(log)-1].Seq)
	}
	return ""
}

// judge compares all its tables with what the whole log says as of their seq (G5).
func (p *puller) judge(log []checker.Event) (found []checker.Violation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(log) > 0 && p.table.Seq != log[len(log)-1].Seq {
		found = append(found, checker.Violation{Promise: "G5", App: "demo", What: fmt.Sprintf("a consumer that pulls ended at %d of %d", p.table.Seq, log[len(log)-1].Seq)})
	}
	for _, t := range append(p.seen, p.table) {
		truth := map[string]uint64{}
		for _, e := range log {
			if e.Seq > t.Seq {
				break
			}
			if e.Type == "occupied" {
				truth[e.Channel] = e.Seq
			} else {
				delete(truth, e.Channel)
			}
		}
		if !maps.Equal(truth, t.Channels) {
			found = append(found, checker.Violation{Promise: "G5", App: "demo", Seq: t.Seq,
				What: fmt.Sprintf("a consumer that pulls had %d channels as of %d, and %d were occupied", len(t.Channels), t.Seq, len(truth))})
		}
	}
	return found
}
