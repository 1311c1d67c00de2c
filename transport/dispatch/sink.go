package dispatch

import (
	"context"
	"net/http"
)

// sink takes the batches of one rule during one term. send is called from several goroutines; close when none is left.
type sink interface {
	// send returns nil if the batch was accepted. It ends within the rule's timeout, or soon after ctx. Errors that it
	// can classify are failures.
	send(ctx context.Context, events []Event) error
	close()
}

// openSink returns the sink of a validated rule. Nothing is dialed before the first batch.
func openSink(c *Config, r *Rule) (sink, error) {
	if r.grpc() {
		return newGRPCSink(c, r)
	}
	signer, err := newSigner(r)
	if err != nil {
		return nil, err
	}
	return &httpSink{rule: r, signer: signer, client: httpClient(c, r)}, nil
}

// httpClient is the given client without its timeout (each rule has one) and without redirects, or a new one with enough
// idle connections for the rule's lanes.
func httpClient(c *Config, r *Rule) *http.Client {
	client := &http.Client{}
	if c.Client != nil {
		*client = *c.Client
	} else {
		client.Transport = &http.Transport{ // no Proxy: the environment of a server is no place for routes of events
			DialContext:         dialer(c.Dial),
			TLSClientConfig:     r.TLS.Clone(),
			TLSHandshakeTimeout: dialTimeout,
			MaxIdleConnsPerHost: r.Lanes,
			IdleConnTimeout:     idleTimeout,
		}
	}
	client.Timeout = 0
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}
