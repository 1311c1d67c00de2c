package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"innkeeper/transport/dispatch"
)

// Bounds of what a target can be sent at once.
const (
	maxLanes     = 256
	maxBatchSize = 1000
	maxLinger    = 10 * time.Second
)

// grpc says whether the target is a gRPC server.
func (t *Target) grpc() bool { return hasScheme(t.URL, "grpc", "grpcs") }

// encrypted says whether the target is spoken to over TLS.
func (t *Target) encrypted() bool { return hasScheme(t.URL, "https", "grpcs") }

func hasScheme(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, u.Scheme)
}

func (c checker) target(at string, t *Target) {
	c.url(at+".url", t)
	if t.Format != "" {
		c.oneOf(at+".format", t.Format, "innkeeper", "centrifugo", "ably")
	}
	if t.grpc() && t.Format != "" && t.Format != "centrifugo" {
		c.bad(at+".format", "%s is not known over gRPC; write centrifugo, or leave it out", t.Format)
	}
	c.headers(at, t)
	c.secrets(at, t)
	if d := t.Timeout; d != nil && (*d <= 0 || *d >= leaseTTL) {
		c.bad(at+".timeout", "%v is out of range; it must be more than 0s and less than %v, so that a replaced leader's request ends before its successor's begins", *d, leaseTTL)
	}
	if n := t.Lanes; n != nil && (*n < 1 || *n > maxLanes) {
		c.bad(at+".lanes", "%d is out of range; it must be from 1 to %d requests at once", *n, maxLanes)
	}
	if n := t.BatchSize; n != nil && (*n < 1 || *n > maxBatchSize) {
		c.bad(at+".batch_size", "%d is out of range; it must be from 1 to %d events", *n, maxBatchSize)
	}
	if d := t.Linger; d != nil && (*d < 0 || *d > maxLinger) {
		c.bad(at+".linger", "%v is out of range; it must be from 0s to %v", *d, maxLinger)
	}
	c.tls(at, t)
}

var headerForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (c checker) headers(at string, t *Target) {
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		key, lower := fmt.Sprintf("%s.headers[%s]", at, name), strings.ToLower(name)
		switch {
		case !headerForm.MatchString(name):
			c.bad(key, "%q is not the name of a header; it must be letters, digits and dashes", name)
		case strings.HasPrefix(lower, "webhook-"):
			c.bad(key, "%q is set by the node itself; to have requests signed, set secrets", name)
		case t.grpc() && (!grpcHeaderForm.MatchString(lower) || strings.HasPrefix(lower, "grpc-") || strings.HasSuffix(lower, "-bin") || slices.Contains(grpcReserved, lower)):
			c.bad(key, "%q cannot be sent over gRPC; it must be letters, digits, dashes and dots, and none of gRPC's own", name)
		}
		if strings.ContainsFunc(t.Headers[name], isControl) {
			c.bad(key, "holds a line break or another control character, which a header cannot carry")
		} else if t.grpc() && strings.ContainsFunc(t.Headers[name], func(r rune) bool { return r > '~' }) {
			c.bad(key, "holds characters beyond ASCII, which gRPC cannot carry")
		}
	}
}

var (
	grpcHeaderForm = regexp.MustCompile("^[a-z0-9._-]+$")
	grpcReserved   = []string{"host", "content-type", "te", "user-agent"}
)

// secrets are never repeated.
func (c checker) secrets(at string, t *Target) {
	if t.grpc() && len(t.Secrets) > 0 {
		c.bad(at+".secrets", "sign HTTP requests only; over gRPC send a header, or show a certificate (tls.cert_file)")
	}
	for i, text := range t.Secrets {
		if _, err := dispatch.ParseSecret(text); err != nil {
			c.bad(fmt.Sprintf("%s.secrets[%d]", at, i), "%v; write whsec_ and at least 16 random bytes in base64, such as from: echo whsec_$(openssl rand -base64 24)", err)
		}
	}
}

func (c checker) url(at string, t *Target) {
	const example = "http://127.0.0.1:9000/events or grpc://127.0.0.1:9000"
	if t.URL == "" {
		c.bad(at, "is missing; it must be an address such as %s", example)
		return
	}
	u, err := url.Parse(t.URL)
	switch {
	case err != nil:
		c.bad(at, "%q is not a URL; it must look like %s", t.URL, example)
	case !slices.Contains([]string{"http", "https", "grpc", "grpcs"}, u.Scheme):
		c.bad(at, "%q has the scheme %q; it must be http, https, grpc or grpcs", u.Redacted(), u.Scheme)
	case u.Hostname() == "":
		c.bad(at, "%q names no host; it must look like %s", u.Redacted(), example)
	case t.grpc() && u.Port() == "":
		c.bad(at, "%q names no port, and gRPC has no usual one; it must look like grpc://127.0.0.1:9000", u.Redacted())
	case t.grpc() && (u.Path != "" || u.RawQuery != "" || u.User != nil):
		c.bad(at, "%q holds more than host and port, which is all that gRPC takes; it must look like grpc://127.0.0.1:9000", u.Redacted())
	}
}

// redactURL hides a password in a URL.
func redactURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return u.Redacted()
}
