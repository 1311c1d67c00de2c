package dispatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// notifyMethod is the call of Centrifugo's proxy service that state events go by.
const notifyMethod = "/centrifugal.centrifugo.proxy.CentrifugoProxy/NotifyChannelState"

// How long a broken connection waits before it is tried again, whether or not events wait: the lanes have their own
// backoff, and an attempt in between fails at once.
var reconnect = grpcbackoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second}

// grpcSink calls a server that speaks Centrifugo's proxy protocol, all lanes over one connection.
type grpcSink struct {
	rule     *Rule
	conn     *grpc.ClientConn
	metadata metadata.MD
}

func newGRPCSink(c *Config, r *Rule) (*grpcSink, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if u.Scheme == "grpcs" {
		creds = credentials.NewTLS(r.TLS.Clone()) // nil is the system's roots
	}
	dial := dialer(c.Dial)
	conn, err := grpc.NewClient("passthrough:///"+u.Host,
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, "tcp", addr) }),
		grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: dialTimeout}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wireCodec{}), grpc.MaxCallRecvMsgSize(answerMax)),
		grpc.WithUserAgent(userAgent),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, err
	}
	return &grpcSink{rule: r, conn: conn, metadata: metadata.New(r.Headers)}, nil
}

// send makes one call.
func (s *grpcSink) send(ctx context.Context, events []Event) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.rule.Timeout, fmt.Errorf("no answer within %v", s.rule.Timeout))
	defer cancel()
	var answer []byte
	var header, trailer metadata.MD
	err := s.conn.Invoke(metadata.NewOutgoingContext(ctx, s.metadata), notifyMethod, notifyRequest(events), &answer,
		grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		return s.failure(ctx, err, header.Len()+trailer.Len() > 0)
	}
	if err := notifyAccepted(answer); err != nil {
		return failed(FailedAnswer, err)
	}
	return nil
}

// failure classifies what the call returned. A connection that is not there shows as Unavailable, as does a server that
// says so: that one sent headers or a trailer (their content-type at least). What is no gRPC server, such as a proxy
// without a backend, sends none that is shown; there the state of the connection, which gRPC sets a little after the
// first calls may use it, tells them apart well enough to count them.
func (s *grpcSink) failure(ctx context.Context, err error, answered bool) error {
	if ctx.Err() != nil {
		return failed(FailedTimeout, context.Cause(ctx))
	}
	st := status.Convert(err)
	text := fmt.Errorf("answered %v: %s", st.Code(), excerpt([]byte(st.Message())))
	switch {
	case st.Code() == codes.DeadlineExceeded: // the server knows our timeout and may see it pass before we do
		return failed(FailedTimeout, text)
	case st.Code() != codes.Unavailable || answered || s.conn.GetState() == connectivity.Ready:
		return failed(FailedStatus, text)
	default:
		return failed(FailedConnect, errors.New(st.Message()))
	}
}

func (s *grpcSink) close() { s.conn.Close() }
