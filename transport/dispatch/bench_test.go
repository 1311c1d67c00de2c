package dispatch

import (
	"net/http"
	"testing"
	"time"
)

// BenchmarkDispatch is the cost per event from the log to an accepted answer and a committed cursor, without a network.
func BenchmarkDispatch(b *testing.B) {
	log := newFakeLog()
	d, err := New(Config{Log: log, Rules: []Rule{rule()}, Client: &http.Client{Transport: acceptAll{}}})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	channels := names(10_000)
	b.ReportAllocs()
	var last uint64
	for n := 0; n < b.N; n += len(channels) {
		last = log.occupy(channels[:min(len(channels), b.N-n)]...)
	}
	b.ResetTimer()
	d.Lead(true)
	for d.Status().Rules[0].Cursor < last {
		time.Sleep(time.Millisecond)
	}
}

// acceptAll reads nothing and accepts.
type acceptAll struct{}

func (acceptAll) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Body.Close()
	return reply(200, ""), nil
}
