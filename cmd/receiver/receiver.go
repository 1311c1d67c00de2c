package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// bodyMax bounds one request.
const bodyMax = 16 << 20

// answers are the modes and what each answers; a status of 0 hangs, -1 cuts the connection.
var answers = map[string]struct {
	status int
	body   string
}{
	"ok":     {200, ""},
	"result": {200, `{"result":{}}`},
	"error":  {200, `{"error":{"code":1000,"message":"told to refuse"}}`},
	"500":    {500, "told to fail\n"},
	"hang":   {0, ""},
	"cut":    {-1, ""},
}

// modes lists them for messages.
func modes() string { return strings.Join(slices.Sorted(maps.Keys(answers)), ", ") }

// counts is what a receiver has seen.
type counts struct {
	Requests uint64            `json:"requests"`
	Bad      uint64            `json:"bad"` // requests that are no batch
	Events   uint64            `json:"events"`
	Distinct uint64            `json:"distinct"` // by id; events without one are not counted
	Types    map[string]uint64 `json:"types"`
	Answers  map[string]uint64 `json:"answers"` // by mode
}

// receiver takes batches. Its methods may be called from any goroutine.
type receiver struct {
	mu      sync.Mutex
	out     io.Writer
	mode    string
	changed chan struct{} // closed and replaced when the mode changes
	counts  counts
	ids     map[string]struct{}
}

// newReceiver writes its record to out. The mode must be one of answers.
func newReceiver(out io.Writer, mode string) *receiver {
	return &receiver{
		out: out, mode: mode, changed: make(chan struct{}), ids: make(map[string]struct{}),
		counts: counts{Types: make(map[string]uint64), Answers: make(map[string]uint64)},
	}
}

// ServeHTTP takes a batch or a control request.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.URL.Path == "/control":
		r.control(w, req)
	case req.Method != http.MethodPost:
		http.Error(w, "POST a batch of events here; GET /control shows the counts", http.StatusMethodNotAllowed)
	default:
		r.take(w, req)
	}
}

// line is one line of the record.
type line struct {
	ReceivedMs int64           `json:"received_ms"`
	Path       string          `json:"path"`
	Answer     string          `json:"answer"`
	Batch      json.RawMessage `json:"batch"`
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, bodyMax))
	var batch struct {
		Events []struct{ ID, Type string }
	}
	if err == nil {
		err = json.Unmarshal(body, &batch)
	}
	if err != nil || len(batch.Events) == 0 {
		r.mu.Lock()
		r.counts.Bad++
		r.mu.Unlock()
		http.Error(w, fmt.Sprintf("not a batch of events: %v", err), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	mode := r.mode
	text, err := json.Marshal(line{time.Now().UnixMilli(), req.URL.Path, mode, body})
	if err == nil {
		_, err = r.out.Write(append(text, '\n'))
	}
	r.counts.Requests++
	for _, e := range batch.Events {
		r.counts.Events++
		r.counts.Types[e.Type]++
		if _, seen := r.ids[e.ID]; e.ID != "" && !seen {
			r.ids[e.ID] = struct{}{}
			r.counts.Distinct++
		}
	}
	r.mu.Unlock()
	if err != nil {
		http.Error(w, fmt.Sprintf("cannot write it down: %v", err), http.StatusInternalServerError)
		return
	}
	r.answer(w, req)
}

// answer answers by the mode there is when it does.
func (r *receiver) answer(w http.ResponseWriter, req *http.Request) {
	for {
		r.mu.Lock()
		mode, changed := r.mode, r.changed
		a := answers[mode]
		if a.status != 0 {
			r.counts.Answers[mode]++
		}
		r.mu.Unlock()
		switch a.status {
		case 0:
			select {
			case <-changed:
			case <-req.Context().Done():
				return
			}
		case -1:
			panic(http.ErrAbortHandler) // the server closes the connection without a word
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(a.status)
			io.WriteString(w, a.body)
			return
		}
	}
}

func (r *receiver) control(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodPost {
		mode := req.URL.Query().Get("mode")
		if _, ok := answers[mode]; !ok {
			http.Error(w, fmt.Sprintf("mode %q is unknown; it must be one of %s", mode, modes()), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.mode = mode
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(r.status(), '\n'))
}

// status is the mode and the counts in JSON.
func (r *receiver) status() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := json.Marshal(struct {
		Mode string `json:"mode"`
		counts
	}{r.mode, r.counts})
	if err != nil {
		panic(err) // strings and numbers
	}
	return text
}
