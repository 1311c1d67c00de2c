package dispatch

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"
)

// Over a real socket and with the dispatcher's own client: a connection that is cut after the sink has read the batch
// brings the same bytes again, and nothing is left running after Close.
func TestConnectionCutAfterReading(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	bodies := make(chan string, 10)
	first := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- string(b)
		if first {
			first = false
			panic(http.ErrAbortHandler) // closes the connection
		}
	}))
	defer server.Close()
	log := newFakeLog()
	r := rule()
	r.URL = server.URL
	d, err := New(Config{Log: log, Rules: []Rule{r}})
	if err != nil {
		t.Fatal(err)
	}
	d.Lead(true)
	log.occupy("chat:1")
	sent, again := <-bodies, <-bodies
	d.Close()
	if sent != again {
		t.Errorf("sent %s, then %s", sent, again)
	}
	if s := d.Status().Rules[0]; s.Attempts != 2 || s.Failures != 1 {
		t.Errorf("status = %+v", s)
	}
}
