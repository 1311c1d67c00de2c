package dispatch

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// proxyServer is a backend as one writes it for Centrifugo: built from the protocol's definition by the protobuf library,
// sharing nothing with the sink.
type proxyServer struct {
	service protoreflect.ServiceDescriptor

	mu       sync.Mutex
	answer   func(ctx context.Context, events []received) (proto.Message, error) // nil accepts
	got      []received                                                          // of accepted requests
	batches  []int                                                               // their sizes
	calls    int
	metadata metadata.MD // of the last call
}

func newProxyServer(t *testing.T) *proxyServer {
	t.Helper()
	text, err := os.ReadFile("testdata/centrifugo_proxy.textproto")
	if err != nil {
		t.Fatal(err)
	}
	var file descriptorpb.FileDescriptorProto
	if err := prototext.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	fd, err := protodesc.NewFile(&file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &proxyServer{service: fd.Services().ByName("CentrifugoProxy")}
}

// response makes a NotifyChannelStateResponse from its text form.
func (s *proxyServer) response(text string) proto.Message {
	m := dynamicpb.NewMessage(s.service.Methods().ByName("NotifyChannelState").Output())
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		panic(err)
	}
	return m
}

// serve accepts calls until the test ends.
func (s *proxyServer) serve(t *testing.T, l net.Listener, opts ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(opts...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: string(s.service.FullName()),
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "NotifyChannelState",
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				return s.notify(ctx, decode)
			},
		}},
	}, s)
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return server
}

func (s *proxyServer) notify(ctx context.Context, decode func(any) error) (any, error) {
	in := dynamicpb.NewMessage(s.service.Methods().ByName("NotifyChannelState").Input())
	if err := decode(in); err != nil {
		return nil, err
	}
	if len(in.GetUnknown()) > 0 {
		return nil, fmt.Errorf("unknown fields %x", in.GetUnknown())
	}
	var events []received
	list := in.Get(in.Descriptor().Fields().ByName("events")).List()
	for i := range list.Len() {
		m := list.Get(i).Message()
		field := func(name protoreflect.Name) protoreflect.Value { return m.Get(m.Descriptor().Fields().ByName(name)) }
		if kind := field("type").String(); kind != "occupied" {
			return nil, fmt.Errorf("type %q", kind)
		}
		seq := uint64(field("time_ms").Int())
		events = append(events, received{ID: fmt.Sprint("c1-", seq), Seq: seq, Channel: field("channel").String()})
	}
	s.mu.Lock()
	s.calls++
	s.metadata, _ = metadata.FromIncomingContext(ctx)
	answer := s.answer
	s.mu.Unlock()
	out := s.response("result {}")
	if answer != nil {
		var err error
		if out, err = answer(ctx, events); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := out.ProtoReflect(); !m.Has(m.Descriptor().Fields().ByName("error")) {
		s.got = append(s.got, events...)
		s.batches = append(s.batches, len(events))
	}
	return out, nil
}

func (s *proxyServer) set(answer func(context.Context, []received) (proto.Message, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *proxyServer) take() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *proxyServer) sizes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

func (s *proxyServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *proxyServer) seen() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.metadata
}
