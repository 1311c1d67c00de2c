package dispatch

import (
	"context"
	"crypto/tls"
	"errors"
	"net/url"
)

// FailureKind says in what way a request was not accepted.
type FailureKind string

// The kinds of failures.
const (
	FailedConnect FailureKind = "connect" // no connection: refused, unknown host, TLS
	FailedTimeout FailureKind = "timeout" // no complete answer in time
	FailedBroken  FailureKind = "broken"  // the connection ended before the answer did
	FailedStatus  FailureKind = "status"  // answered with a status that is no success
	FailedAnswer  FailureKind = "answer"  // answered with success and a body that says or is something else
)

// FailureKinds are all there are.
var FailureKinds = []FailureKind{FailedConnect, FailedTimeout, FailedBroken, FailedStatus, FailedAnswer}

// failure is why a request was not accepted.
type failure struct {
	kind FailureKind
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(kind FailureKind, err error) error { return &failure{kind, err} }

// kindOf is the kind of a failed request; what a sink did not classify is a broken connection.
func kindOf(err error) FailureKind {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.kind
	}
	return FailedBroken
}

// transportFailure turns an error of the HTTP client into one worth showing: the reason for a timeout, and never the
// URL, which can hold a secret.
func transportFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return failed(FailedTimeout, context.Cause(ctx))
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if dial, ok := errors.AsType[*dialError](err); ok {
		return failed(FailedConnect, dial.err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return failed(FailedConnect, err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok { // the other end speaks no TLS
		return failed(FailedConnect, err)
	}
	return failed(FailedBroken, err)
}
