package sim

import (
	"encoding/json"
	"io"
	"net/http"
	"path"
	"sync"
	"time"
)

// HookMode is how the webhook receiver answers.
type HookMode uint8

// The modes.
const (
	HookOK    HookMode = iota
	HookError          // answers 500
	HookHang           // reads and never answers
	HookCut            // reads and cuts the connection
	hookModes
)

func (m HookMode) String() string { return [...]string{"ok", "500", "hang", "cut"}[m] }

// hookAddr is where webhooks go; the last part of the path is the rule.
const (
	hookIP  = "10.2.0.1"
	hookURL = "http://" + hookIP + ":80/hook/"
)

// Receiver is the backend that webhooks go to. It writes down every request that it read to the end.
type Receiver struct {
	rec *Recorder
	srv *http.Server

	mu   sync.Mutex
	mode HookMode
	gone chan struct{} // closed by Close: what hangs ends
}

// startReceiver serves until Close.
func startReceiver(s *Sim) (*Receiver, error) {
	l, err := s.Net.Host(hookIP).Listen(":80")
	if err != nil {
		return nil, err
	}
	r := &Receiver{rec: &s.rec, gone: make(chan struct{})}
	r.srv = &http.Server{Handler: r}
	s.wg.Go(func() { r.srv.Serve(l) })
	return r, nil
}

// SetMode changes how later requests are answered.
func (r *Receiver) SetMode(m HookMode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode = m
}

// Close ends the server and what hangs in it.
func (r *Receiver) Close() {
	close(r.gone)
	r.srv.Close()
}

// ServeHTTP takes one batch of either format: what one of them leaves out stays zero.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	var batch struct {
		Events []Event `json:"events"`
	}
	if err := json.Unmarshal(body, &batch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	mode := r.mode
	r.mu.Unlock()
	r.rec.record(func(h *History) {
		h.Receipts = append(h.Receipts, Receipt{At: time.Now(), Rule: path.Base(req.URL.Path), Events: batch.Events, Accepted: mode == HookOK})
	})
	switch mode {
	case HookOK:
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"result":{}}`)
	case HookError:
		http.Error(w, "down", http.StatusInternalServerError)
	case HookHang:
		select {
		case <-req.Context().Done():
		case <-r.gone:
		}
	case HookCut:
		panic(http.ErrAbortHandler)
	}
}
