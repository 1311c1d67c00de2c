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
	if r.Deliver != nil {
		return &localSink{rule: r}, nil
	}
	if r.grpc() {
		return newGRPCSink(c, r)
	}
	signer, err := newSigner(r)
	if err != nil {
		return nil, err
	}
	return &httpSink{rule: r, signer: signer, client: httpClient(c, r), site: c.Site, counts: c.Counts}, nil
}

// localSink hands batches to a function of this process.
type localSink struct{ rule *Rule }

func (s *localSink) send(ctx context.Context, events []Event) error {
	ctx, cancel := context.WithTimeout(ctx, s.rule.Timeout)
	defer cancel()
	return s.rule.Deliver(ctx, events)
}

func (s *localSink) close() {}

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
