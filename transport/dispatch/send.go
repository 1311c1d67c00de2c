package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// answerMax bounds how much of an answer is read.
const answerMax = 64 << 10

// send makes one request and returns nil if the sink accepted the events. It ends within the rule's timeout, or soon
// after ctx.
func send(ctx context.Context, client *http.Client, r *Rule, events []Event) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("no answer within %v", r.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(body(r, events)))
	if err != nil {
		return err
	}
	req.Header = r.header()
	req.Host = req.Header.Get("Host") // "" is the URL's
	resp, err := client.Do(req)
	if err != nil {
		return why(ctx, err)
	}
	defer resp.Body.Close()
	return judge(ctx, r, resp)
}

// judge says whether the answer accepts the batch.
func judge(ctx context.Context, r *Rule, resp *http.Response) error {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerMax+1))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("answered %d: %s", resp.StatusCode, excerpt(answer))
	}
	if r.Format == Innkeeper {
		return nil // the status said it all; the body was read only so that the connection can be used again
	}
	switch {
	case err != nil:
		return fmt.Errorf("answer cut short: %w", why(ctx, err))
	case len(answer) > answerMax:
		return fmt.Errorf("answer longer than %d bytes", answerMax)
	}
	return accepted(answer)
}

// why turns an error of the HTTP client into one worth showing: the reason for a timeout, and never the URL, which can
// hold a secret.
func why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
