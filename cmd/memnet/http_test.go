package memnet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// client returns an HTTP client whose connections leave from a host.
func client(h *Host) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return h.Dial(ctx, addr) },
	}}
}

// serve runs an HTTP server on a host until the test ends.
func serve(t *testing.T, h *Host, handler http.Handler) (stop func()) {
	t.Helper()
	l, err := h.Listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: handler}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(l) })
	return func() {
		srv.Close()
		wg.Wait()
	}
}

func TestHTTP(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		n.DefaultDelay(time.Millisecond, time.Millisecond)
		mux := http.NewServeMux()
		mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
		mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		defer serve(t, n.Host(ipB), mux)()
		c := client(n.Host(ipA))
		defer c.CloseIdleConnections()
		body := strings.Repeat("x", 300<<10)
		for range 3 {
			res, err := c.Post("http://"+ipB+"/echo", "text/plain", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || string(got) != body {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+ipB+"/hang", nil)
		if _, err := c.Do(req); err == nil {
			t.Error("the hanging handler answered")
		}
	})
}

func TestWebSocket(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		n.DefaultDelay(time.Millisecond, time.Millisecond)
		defer serve(t, n.Host(ipB), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer ws.CloseNow()
			for {
				kind, data, err := ws.Read(context.Background())
				if err != nil {
					return
				}
				if err := ws.Write(context.Background(), kind, data); err != nil {
					return
				}
			}
		}))()
		dial := func() *websocket.Conn {
			ws, _, err := websocket.Dial(t.Context(), "ws://"+ipB+"/", &websocket.DialOptions{HTTPClient: client(n.Host(ipA))})
			if err != nil {
				t.Fatal(err)
			}
			return ws
		}
		ws := dial()
		began := time.Now()
		for i := range 25 * 60 {
			time.Sleep(time.Second)
			want := fmt.Sprint("beat ", i)
			if err := ws.Write(t.Context(), websocket.MessageText, []byte(want)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := ws.Read(t.Context()); err != nil || string(got) != want {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		if time.Since(began) < 25*time.Minute {
			t.Error("time did not pass")
		}
		if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		ws = dial()
		n.Kill(ipB)
		if _, _, err := ws.Read(t.Context()); err == nil {
			t.Error("read from a dead server succeeded")
		}
		ws.CloseNow()
	})
}
