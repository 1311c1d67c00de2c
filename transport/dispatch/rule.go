package dispatch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The sources of events.
const (
	SourceChannelState     = "channel.state"     // occupied and vacated
	SourceChannelLifecycle = "channel.lifecycle" // opened and closed
	SourceChannelMessage   = "channel.message"   // what is published; this and the next two are for Taps
	SourceChannelPresence  = "channel.presence"  // who enters, updates and leaves
	SourceChannelOccupancy = "channel.occupancy" // counts, when they change
	SourceLimits           = "limits"            // limits that are nearly or entirely used up
)

// sources are all that a rule can have.
var sources = []string{SourceChannelState, SourceChannelLifecycle, SourceChannelMessage, SourceChannelPresence, SourceChannelOccupancy, SourceLimits}

// kindsOf are the kinds of events that a source has.
var kindsOf = map[string][2]Kind{
	SourceChannelState:     {Occupied, Vacated},
	SourceChannelLifecycle: {Opened, Closed},
	SourceLimits:           {LimitNear, LimitOver},
}

// Format says how a sink wants its requests and what it answers.
type Format string

// The formats.
const (
	// Innkeeper is the full event; any 2xx answer accepts the batch.
	Innkeeper Format = "innkeeper"
	// Centrifugo is the channel state event of Centrifugo PRO; a 2xx answer with a JSON object that has no error
	// accepts the batch.
	Centrifugo Format = "centrifugo"
	// Ably is the form of Ably's integration rules (docs/integration-rules.md); any 2xx answer accepts the batch.
	Ably Format = "ably"
)

// Rule sends the events of one app that match to one URL.
type Rule struct {
	ID       string
	App      string
	Source   string         // SourceChannelState when ""
	Channels *regexp.Regexp // channel names that match, anywhere in the name; nil is all
	URL      string         // http, https, grpc or grpcs
	Format   Format         // Innkeeper when "", for gRPC Centrifugo
	Ably     AblyForm       // with the format Ably
	Headers  map[string]string
	Secrets  []string      // sign HTTP requests, one signature each: see ParseSecret; none: requests are not signed
	TLS      *tls.Config   // for https and grpcs; nil is the system's roots and no client certificate
	Timeout  time.Duration // of one request, answer included; 3 s when zero; below the lease

	// After is where a rule begins that has no cursor yet: behind this seq, or with the oldest event there is if that is later.
	After uint64
	// GapFrom, when not 0, is where the rule was switched off before it was switched on again behind After: the sink is told of a
	// gap from here to After, and sent nothing of it, before anything else. It is not above After.
	GapFrom uint64

	// Deliver, when set, takes the batches instead of a URL, and the rule is of all apps, and no business of Status. It ends
	// within Timeout or soon after ctx, and may be called from several goroutines.
	Deliver func(ctx context.Context, events []Event) error

	// What differs from the Config of the dispatcher; zero is what that says.
	Lanes  int
	Batch  int
	Linger time.Duration // negative: none
}

// Cursor is the name of the rule's cursor in the log.
func (r *Rule) Cursor() string { return r.App + "/" + r.ID }

// Matches says whether the rule wants the event.
func (r *Rule) Matches(e *Event) bool {
	kinds := kindsOf[r.Source]
	if r.Deliver == nil && e.App != r.App || e.Kind != kinds[0] && e.Kind != kinds[1] {
		return false
	}
	return r.Channels == nil || e.Limit != "" || r.Channels.MatchString(e.Channel)
}

// same says whether two rules come to the same requests. With TLS settings they never do: the files behind them may have
// changed.
func (r *Rule) same(as *Rule) bool {
	a, b := *r, *as
	if a.Channels != nil && b.Channels != nil && a.Channels.String() == b.Channels.String() {
		a.Channels, b.Channels = nil, nil
	}
	return a.TLS == nil && b.TLS == nil && reflect.DeepEqual(a, b)
}

// grpc says whether the rule's URL names a gRPC server.
func (r *Rule) grpc() bool { return isGRPC(r.URL) }

func isGRPC(url string) bool {
	return strings.HasPrefix(url, "grpc://") || strings.HasPrefix(url, "grpcs://")
}

// DefaultFormat is the format of a rule that names none, by its URL: a gRPC server speaks Centrifugo's alone.
func DefaultFormat(url string) Format {
	if isGRPC(url) {
		return Centrifugo
	}
	return Innkeeper
}

// withDefaults fills what was left out.
func (r Rule) withDefaults(c *Config) Rule {
	def(&r.Source, SourceChannelState)
	def(&r.Format, DefaultFormat(r.URL))
	def(&r.Timeout, defaultTimeout)
	def(&r.Lanes, c.Lanes)
	def(&r.Batch, c.Batch)
	if r.Format == Ably && r.Ably.Single {
		r.Batch = 1
	}
	def(&r.Linger, c.Linger)
	return r
}

// limits are what the rule's pump keeps to.
func (r *Rule) limits(c *Config) limits {
	return limits{
		lanes: r.Lanes, batch: r.Batch, window: c.Window, linger: max(r.Linger, 0),
		commitEvery: c.CommitEvery, commitAfter: uint64(c.CommitAfter), reach: Reach,
	}
}

// validate says what is wrong with the rule. A request must end before the lease of the node that sends it, so that a
// node cut off from the cluster is not still sending when its successor starts.
func (r *Rule) validate(lease time.Duration) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.ID == "" {
		bad("it has no id")
	}
	if r.App == "" && r.Deliver == nil {
		bad("it has no app")
	}
	if !slices.Contains(sources, r.Source) {
		bad("source %q is unknown (want one of %s)", r.Source, strings.Join(sources, ", "))
	}
	switch {
	case !slices.Contains([]Format{Innkeeper, Centrifugo, Ably}, r.Format):
		bad("format %q is unknown (want %q, %q or %q)", r.Format, Innkeeper, Centrifugo, Ably)
	case r.Format == Centrifugo && r.Source != SourceChannelState:
		bad("format %q has no words for source %q", r.Format, r.Source)
	case IsTap(r.Source) && r.Format != Ably:
		bad("source %q has the format %q only, this is %q", r.Source, Ably, r.Format)
	case r.Format == Ably && (r.Source == SourceChannelState || r.Source == SourceLimits):
		bad("format %q has no words for source %q", r.Format, r.Source)
	}
	if r.Timeout < 0 || r.Timeout >= lease {
		bad("timeout %v is out of range (more than 0, less than the lease of %v)", r.Timeout, lease)
	}
	if r.Lanes < 1 || r.Batch < 1 {
		bad("%d lanes of batches of %d events are out of range (1 or more)", r.Lanes, r.Batch)
	}
	u, err := url.Parse(r.URL)
	switch {
	case r.Deliver != nil:
	case err != nil:
		bad("url: %v", errors.Unwrap(err)) // what it wraps does not repeat the URL
	case !slices.Contains([]string{"http", "https", "grpc", "grpcs"}, u.Scheme), u.Host == "":
		bad("url %q is not an http, https, grpc or grpcs URL with a host", u.Redacted())
	case r.grpc():
		errs = append(errs, r.validateGRPC(u)...)
	}
	for name, value := range r.Headers {
		switch {
		case !validHeaderName(name):
			bad("header name %q is not valid", name)
		case strings.HasPrefix(strings.ToLower(name), "webhook-"):
			bad("header %q is set by the dispatcher itself", name)
		}
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			bad("the value of header %q has control characters", name)
		}
	}
	if _, err := newSigner(r); err != nil {
		bad("%v", err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("dispatch: rule %q of app %q: %w", r.ID, r.App, err)
	}
	return nil
}

// validateGRPC says what cannot be where the URL names a gRPC server.
func (r *Rule) validateGRPC(u *url.URL) (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u.Port() == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		bad("url %q is not of the form grpc://host:port", u.Redacted())
	}
	if r.Format != Centrifugo {
		bad("gRPC has no format but %q", Centrifugo)
	}
	if len(r.Secrets) > 0 {
		bad("secrets sign HTTP requests; over gRPC send a header, or use a client certificate")
	}
	for name, value := range r.Headers {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "grpc-") || strings.HasSuffix(lower, "-bin") || slices.Contains([]string{"host", "content-type", "te", "user-agent"}, lower) ||
			strings.ContainsAny(name, "!#$%&'*+^`|~") {
			bad("header %q cannot be sent over gRPC", name)
		}
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
			bad("the value of header %q has characters that gRPC cannot carry", name)
		}
	}
	return errs
}

// validHeaderName says whether name is an HTTP token.
func validHeaderName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !slices.Contains([]byte("!#$%&'*+-.^_`|~"), c) {
			return false
		}
	}
	return name != ""
}

const userAgent = "innkeeper"

// header is what every request of the rule carries. The rule's own headers win.
func (r *Rule) header() http.Header {
	h := http.Header{
		"Content-Type": {"application/json"},
		"User-Agent":   {userAgent},
	}
	for name, value := range r.Headers {
		h.Set(name, value)
	}
	return h
}
