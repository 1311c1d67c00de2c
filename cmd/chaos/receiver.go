package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"innkeeper/cmd/checker"
)

// event is one state event with the time of its receipt.
type event struct {
	checker.Event
	at time.Time
}

// mood is how the receiver answers.
type mood string

// The moods. Only what was answered 200 or 500 was surely heard by the sender.
const (
	takes mood = "takes" // 200
	fails mood = "fails" // 500, and forgets what it was sent
	hangs mood = "hangs" // reads, keeps and does not answer until the mood changes
	cuts  mood = "cuts"  // reads, keeps and closes the connection
)

// receiver is the application's backend: it keeps every event in the order of receipt.
type receiver struct {
	url string
	srv *http.Server

	mu       sync.Mutex
	mood     mood
	requests map[mood]int
	events   []event
	changed  chan struct{} // closed and renewed with each batch and each mood
}

// newReceiver serves on an address until close.
func newReceiver(addr string) (*receiver, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/events", mood: takes, requests: map[mood]int{}, changed: make(chan struct{})}
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
	now := time.Now()
	r.mu.Lock()
	m := r.mood
	r.requests[m]++
	if m != fails {
		for _, e := range batch.Events {
			e.at = now
			r.events = append(r.events, e)
		}
	}
	r.nudge()
	changed := r.changed
	r.mu.Unlock()
	switch m {
	case fails:
		http.Error(w, "down for the test", http.StatusInternalServerError)
	case cuts:
		panic(http.ErrAbortHandler) // the server closes the connection without a word
	case hangs:
		r.hang(req, changed)
	}
}

// hang waits until the mood is another, or the sender gives up.
func (r *receiver) hang(req *http.Request, changed chan struct{}) {
	for {
		select {
		case <-changed:
		case <-req.Context().Done():
			return
		}
		r.mu.Lock()
		m := r.mood
		changed = r.changed
		r.mu.Unlock()
		if m != hangs {
			return
		}
	}
}

// nudge wakes those who wait; the caller holds the lock.
func (r *receiver) nudge() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// answer changes the mood.
func (r *receiver) answer(m mood) {
	r.mu.Lock()
	r.mood = m
	r.nudge()
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
