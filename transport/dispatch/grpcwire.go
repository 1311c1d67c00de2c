package dispatch

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields of Centrifugo's proxy messages that are used here.
const (
	requestEvents protowire.Number = 1

	eventTimeMs  protowire.Number = 1
	eventChannel protowire.Number = 2
	eventType    protowire.Number = 3

	responseError protowire.Number = 2

	errorCode    protowire.Number = 1
	errorMessage protowire.Number = 2
)

// wireCodec passes messages that are laid by hand through gRPC.
type wireCodec struct{}

// Marshal takes a []byte.
func (wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

// Unmarshal fills a *[]byte.
func (wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// Name is the subtype of the content type: what is laid is protobuf.
func (wireCodec) Name() string { return "proto" }

// notifyRequest lays a NotifyChannelStateRequest.
func notifyRequest(events []Event) []byte {
	dst := make([]byte, 0, 64*len(events))
	var one []byte
	for i := range events {
		one = appendChannelEvent(one[:0], &events[i])
		dst = protowire.AppendTag(dst, requestEvents, protowire.BytesType)
		dst = protowire.AppendBytes(dst, one)
	}
	return dst
}

func appendChannelEvent(dst []byte, e *Event) []byte {
	dst = protowire.AppendTag(dst, eventTimeMs, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(e.TimeMs))
	dst = protowire.AppendTag(dst, eventChannel, protowire.BytesType)
	dst = protowire.AppendString(dst, strings.ToValidUTF8(e.Channel, "\uFFFD")) // protobuf strings are UTF-8
	dst = protowire.AppendTag(dst, eventType, protowire.BytesType)
	return protowire.AppendString(dst, e.Kind.String())
}

// notifyAccepted says whether a NotifyChannelStateResponse accepts the batch: no error is set. Fields that are unknown
// are passed over; a message that cannot be read accepts nothing.
func notifyAccepted(b []byte) error {
	var refusal error
	err := eachField(b, func(n protowire.Number, value []byte) error {
		if n == responseError {
			var err error
			refusal, err = proxyError(value)
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the answer is not a NotifyChannelStateResponse: %w", err)
	}
	return refusal
}

// proxyError reads an Error; an empty one is an error too.
func proxyError(b []byte) (refusal, err error) {
	var code uint64
	var message []byte
	err = eachField(b, func(n protowire.Number, value []byte) error {
		switch n {
		case errorCode:
			code, _ = protowire.ConsumeVarint(value)
		case errorMessage:
			message = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return fmt.Errorf("the answer has an error: code %d, %s", code, excerpt(message)), nil
}

var errWire = errors.New("malformed protobuf")

// eachField calls fn for each field of a message: with the contents of one that has a length, else with the bytes of its
// value.
func eachField(b []byte, fn func(n protowire.Number, value []byte) error) error {
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errWire
		}
		b = b[size:]
		size = protowire.ConsumeFieldValue(n, typ, b)
		if size < 0 {
			return errWire
		}
		value := b[:size]
		b = b[size:]
		if typ == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(value)
		} else if n == responseError {
			return errWire // fields 2 of both messages have a length
		}
		if err := fn(n, value); err != nil {
			return err
		}
	}
	return nil
}
