package node

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cmd/memnet"
)

// TestBodiesHaveADeadline: a body that does not come ends its connection, whether the handler reads it or not. A request
// whose body has come, or that has none, is answered however long that takes.
func TestBodiesHaveADeadline(t *testing.T) {
	for name, c := range map[string]struct {
		head, body string
		answered   bool
		after      time.Duration
	}{
		"no body":               {"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", "", true, time.Hour},
		"all of it":             {"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", "abcd", true, time.Hour},
		"all of it in parts":    {"POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nabcd\r\n0\r\n\r\n", true, time.Hour},
		"one byte of four":      {"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", "a", false, bodyTimeout},
		"a part":                {"POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nabcd\r\n", false, bodyTimeout},
		"one that nobody reads": {"POST /deaf HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", "a", true, bodyTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := memnet.New(1).Host("10.0.0.1")
				l, err := host.Listen(":80")
				if err != nil {
					t.Fatal(err)
				}
				b := &boot{log: newLogs().logger()}
				b.listen(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/deaf" {
						return
					}
					if _, err := io.ReadAll(r.Body); err != nil {
						panic(http.ErrAbortHandler)
					}
					select {
					case <-time.After(time.Hour):
					case <-r.Context().Done():
						t.Error("the answer was given up")
					}
				}))
				conn, err := host.Dial(t.Context(), "10.0.0.1:80")
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				io.WriteString(conn, c.head+c.body)
				in := bufio.NewReader(conn)
				res, err := http.ReadResponse(in, nil)
				if (err == nil) != c.answered {
					t.Errorf("answered: %v", err)
				}
				if c.after < time.Hour { // nothing follows
					_, err = in.ReadByte()
					if !isEnd(err) && !errors.Is(err, io.EOF) {
						t.Errorf("the connection goes on: %v", err)
					}
				} else if err == nil {
					res.Body.Close()
				}
				if took := time.Since(began).Round(time.Second); took != c.after {
					t.Errorf("took %s, want %s", took, c.after)
				}
				conn.Close()
				b.servers[0].Shutdown(t.Context())
				b.waiting.Wait()
			})
		})
	}
}
