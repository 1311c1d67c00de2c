package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// event is one state event as Innkeeper's own format carries it.
type event struct {
	ID      string `json:"id"`
	Seq     uint64 `json:"seq"`
	Channel string `json:"channel"`
	Type    string `json:"type"`
	TimeMs  int64  `json:"time_ms"`
	Ends    uint64 `json:"ends"`

	at time.Time // receipt
}

// receiver is the application's backend: it keeps every event in the order of receipt.
type receiver struct {
	url string
	srv *http.Server

	mu      sync.Mutex
	down    bool
	refused int // requests answered 500
	events  []event
	changed chan struct{} // closed and renewed with each batch
}

func newReceiver() (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/events", changed: make(chan struct{})}
	r.srv = &http.Server{Handler: r}
	go r.srv.Serve(l) // ends with close
	return r, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	var batch struct {
		Events []event `json:"events"`
	}
	if err := json.Unmarshal(body, &batch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		r.refused++
		http.Error(w, "down for the test", http.StatusInternalServerError)
	} else {
		now := time.Now()
		for _, e := range batch.Events {
			e.at = now
			r.events = append(r.events, e)
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// setDown makes the receiver answer 500 to everything, or stop doing so.
func (r *receiver) setDown(down bool) {
	r.mu.Lock()
	r.down = down
	r.mu.Unlock()
}

// log is a copy of everything received so far.
func (r *receiver) log() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]event(nil), r.events...)
}

// wait blocks until done says yes of the log, or the time is over.
func (r *receiver) wait(limit time.Duration, done func([]event) bool) bool {
	deadline := time.After(limit)
	for {
		r.mu.Lock()
		changed := r.changed
		ok := done(r.events)
		r.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-deadline:
			return false
		}
	}
}

func (r *receiver) close() { r.srv.Close() }
