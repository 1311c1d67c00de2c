package dispatch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"innkeeper/channel"
)

// answerMax bounds how much of an answer is read.
const answerMax = 64 << 10

// httpSink posts batches to a URL.
type httpSink struct {
	rule   *Rule
	signer *signer
	client *http.Client
	site   func() string // nil: unnamed
	counts func(ctx context.Context, app, channel string) (channel.Counts, error)
}

// send makes one request. It ends within the rule's timeout, or soon after ctx.
func (s *httpSink) send(ctx context.Context, events []Event) error {
	payload, form, err := s.payload(ctx, events)
	if err != nil {
		return err
	}
	return s.post(ctx, payload, form, events)
}

// post makes one request with a body; ids are those of the events in it.
func (s *httpSink) post(ctx context.Context, payload []byte, form map[string]string, ids []Event) error {
	r := s.rule
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("no answer within %v", r.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	req.Header = r.header()
	for name, value := range form {
		req.Header.Set(name, value)
	}
	req.Host = req.Header.Get("Host") // "" is the URL's
	s.signer.sign(req.Header, time.Now(), ids, payload)
	resp, err := s.client.Do(req)
	if err != nil {
		return transportFailure(ctx, err)
	}
	defer resp.Body.Close()
	return judge(ctx, r, resp)
}

// payload is the body of a request, and headers that go with it.
func (s *httpSink) payload(ctx context.Context, events []Event) ([]byte, map[string]string, error) {
	if s.rule.Format != Ably {
		return body(s.rule, events), nil, nil
	}
	items := make([]Item, len(events))
	for i := range events {
		var err error
		if items[i], err = s.item(ctx, &events[i]); err != nil {
			return nil, nil, err
		}
	}
	site := ""
	if s.site != nil {
		site = s.site()
	}
	payload, form := AblyRequest(s.rule, site, items)
	return payload, form, nil
}

// judge says whether the answer accepts the batch.
func judge(ctx context.Context, r *Rule, resp *http.Response) error {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax+1))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return failed(FailedStatus, fmt.Errorf("answered %d: %s", resp.StatusCode, excerpt(answer)))
	}
	if r.Format != Centrifugo {
		return nil // the status said it all; the body was read only so that the connection can be used again
	}
	switch {
	case err != nil:
		err = transportFailure(ctx, err)
		return failed(kindOf(err), fmt.Errorf("answer cut short: %w", err))
	case len(answer) > answerMax:
		return failed(FailedAnswer, fmt.Errorf("answer longer than %d bytes", answerMax))
	}
	if err := accepted(answer); err != nil {
		return failed(FailedAnswer, err)
	}
	return nil
}

func (s *httpSink) close() { s.client.CloseIdleConnections() }
