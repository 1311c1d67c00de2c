package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// apiTimeout bounds one request to a node that is not a stream.
const apiTimeout = 15 * time.Second

// answerMax bounds what is read of an answer.
const answerMax = 64 << 20

// baseURL takes what a user writes for a node: a URL, or just host:port.
func baseURL(flag, text string) (*url.URL, error) {
	full := text
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, &exitError{exitUsage, fmt.Errorf("--%s: %q is not an address; it must look like http://127.0.0.1:8180", flag, text)}
	}
	return u, nil
}

// call makes one request, with a token if there is one, and returns the body of a good answer.
func call(ctx context.Context, method string, u *url.URL, token string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	return answerOf(do(r, token))
}

// answerOf reads the answer of a request.
func answerOf(resp *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, &exitError{exitRefused, fmt.Errorf("%w\nis a node listening there?", err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if resp.StatusCode != http.StatusOK {
		return nil, refusalOf(resp, body)
	}
	return body, err
}

// refusal is an answer that is no success.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

// refusalOf reads what a node says about a request that it refuses.
func refusalOf(resp *http.Response, body []byte) error {
	var said struct{ Error struct{ Message string } }
	text := fmt.Sprintf("%s: %s", resp.Request.URL.Redacted(), resp.Status)
	if json.Unmarshal(body, &said) == nil && said.Error.Message != "" {
		text = said.Error.Message
	} else if line, _, _ := bytes.Cut(body, []byte("\n")); len(line) > 0 {
		text += fmt.Sprintf(": %.200q", line)
	}
	return &refusal{resp.StatusCode, text}
}

// get decodes the answer of an admin endpoint.
func get[T any](ctx context.Context, base *url.URL, path string) (v T, err error) {
	body, err := call(ctx, http.MethodGet, base.JoinPath(path), "")
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("%s%s answers something else than a node of this version: %w; is it the admin address?", base.Redacted(), path, err)
	}
	return v, nil
}

// untilSignal is a context that ends with the first signal.
func (w world) untilSignal() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-w.signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
