package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cmd/checker"
)

const batch = `{"app":"demo","rule":"state","events":[{"id":"c1-1","seq":1,"app":"demo","channel":"a","type":"occupied","time_ms":1}]}`

// post sends a body and returns the answer; the handler's panic counts as a cut connection (status -1).
func post(ctx context.Context, r *receiver, path, body string) (status int, answer string) {
	w := httptest.NewRecorder()
	defer func() {
		if e := recover(); e != nil {
			if err, ok := e.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(e)
			}
			status = -1
		}
	}()
	r.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestAnswersByMode(t *testing.T) {
	for mode, want := range map[string]struct {
		status int
		body   string
	}{
		"ok": {200, ""}, "result": {200, `{"result":{}}`}, "error": {200, `{"error":`}, "500": {500, "told"}, "cut": {-1, ""},
	} {
		var out bytes.Buffer
		r := newReceiver(&out, "ok")
		if status, _ := post(t.Context(), r, "/control?mode="+mode, ""); status != 200 {
			t.Fatalf("control answers %d", status)
		}
		status, body := post(t.Context(), r, "/events", batch)
		if status != want.status || !strings.HasPrefix(body, want.body) || want.body == "" && body != "" {
			t.Errorf("mode %s answers %d %q, want %d %q", mode, status, body, want.status, want.body)
		}
		events, err := checker.Read(&out)
		if err != nil || len(events) != 1 || events[0].ID != "c1-1" {
			t.Errorf("mode %s: record has %v, %v", mode, events, err)
		}
	}
}

func TestHangEndsWithSenderOrMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(new(bytes.Buffer), "hang")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		post(ctx, r, "/events", batch)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("a sender that waits 3 s waited %v", took)
		}
		time.AfterFunc(time.Second, func() { post(context.Background(), r, "/control?mode=500", "") })
		begin = time.Now()
		if status, _ := post(t.Context(), r, "/events", batch); status != 500 || time.Since(begin) != time.Second {
			t.Errorf("answers %d after %v", status, time.Since(begin))
		}
	})
}

func TestCounts(t *testing.T) {
	r := newReceiver(new(bytes.Buffer), "ok")
	post(t.Context(), r, "/events", batch)
	post(t.Context(), r, "/events", batch)
	if status, _ := post(t.Context(), r, "/events", "{}"); status != 400 {
		t.Errorf("no batch answers %d", status)
	}
	if status, body := post(t.Context(), r, "/control?mode=x", ""); status != 400 || !strings.Contains(body, "500, cut, error, hang, ok, result") {
		t.Errorf("unknown mode answers %d %q", status, body)
	}
	var got struct {
		Mode string
		counts
	}
	if err := json.Unmarshal(r.status(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Mode != "ok" || got.Requests != 2 || got.Bad != 1 || got.Events != 2 || got.Distinct != 1 || got.Types["occupied"] != 2 || got.Answers["ok"] != 2 {
		t.Errorf("counts = %+v", got)
	}
}

func TestRunAndCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	ctx, cancel := context.WithCancel(t.Context())
	stderr := &addressWatch{found: make(chan string, 1)}
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-listen", "127.0.0.1:0", "-out", file}, nil, stderr) }()
	var url string
	select {
	case url = <-stderr.found:
	case err := <-done:
		t.Fatal(err)
	}
	resp, err := http.Post(url+"/events", "application/json", strings.NewReader(batch))
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"check", file}, &out, nil); err != nil || !strings.Contains(out.String(), "1 events received, 0 violations") {
		t.Errorf("check: %v, %s", err, out.String())
	}
	again := strings.ReplaceAll(batch, `"id":"c1-1","seq":1`, `"id":"c1-2","seq":2`)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	post(t.Context(), newReceiver(f, "ok"), "/events", again)
	out.Reset()
	if err := run(t.Context(), []string{"check", file}, &out, nil); err == nil || !strings.Contains(out.String(), "G1: app demo") {
		t.Errorf("check of a bad record: %v, %s", err, out.String())
	}
}

// addressWatch finds the address in what the program says at its start.
type addressWatch struct {
	found chan string
	said  bool
}

func (a *addressWatch) Write(b []byte) (int, error) {
	if _, after, ok := strings.Cut(string(b), "http://"); ok && !a.said {
		a.said = true
		address, _, _ := strings.Cut(after, ",")
		a.found <- "http://" + address
	}
	return len(b), nil
}
