package protocol

import (
	"bytes"
	"encoding/base64"
	"strings"

	"innkeeper/channel"
)

// Longest texts of a message that the size limit does not count.
const (
	idBytesMax       = 1024
	encodingBytesMax = 256
)

// CanonicalOptions are the rules a publish is checked against.
type CanonicalOptions struct {
	MaxMessages int // 0 is MaxMessages
	MaxSize     int // bytes over the whole publish as Size counts them; 0 is no limit

	// BareJSON takes an object or array as data without an encoding and keeps it as JSON text with the encoding "json",
	// as REST does for requests written by hand. Otherwise it is refused.
	BareJSON bool
}

// Canonical turns the messages of one publish into what channels keep, or says why the publish as a whole is refused.
// Data in base64 is decoded; ids are checked and taken apart: idBase is what they have in common, "" when the messages
// bear none. A message whose id is <idBase>:<index> has an empty ID afterwards. A message that changes another has an Edit and
// is alone.
//
// Identity is not looked at: clientId is checked by the caller, connectionId is dropped. The data of the result is that
// of in, where it needed no decoding.
func Canonical(in []Message, o CanonicalOptions) (messages []channel.Message, idBase string, err *ErrorInfo) {
	if err := o.check(in, "message"); err != nil {
		return nil, "", err
	}
	messages = make([]channel.Message, len(in))
	for i := range in {
		if err := canonicalMessage(&messages[i], &in[i], o.BareJSON); err != nil {
			return nil, "", at(err, i, len(in))
		}
		if in[i].changes() {
			if err := change(&messages[i], &in[i], len(in) == 1); err != nil {
				return nil, "", at(err, i, len(in))
			}
		}
	}
	if err := o.size(messages); err != nil {
		return nil, "", err
	}
	idBase, err = splitIDs(messages)
	if err != nil {
		return nil, "", err
	}
	return messages, idBase, nil
}

// check looks at how many there are.
func (o *CanonicalOptions) check(in []Message, what string) *ErrorInfo {
	limit := o.MaxMessages
	if limit == 0 {
		limit = MaxMessages
	}
	switch {
	case len(in) == 0:
		return Errorf(CodeBadPublish, "a publish needs at least one %s", what)
	case len(in) > limit:
		return Errorf(CodeTooManyMessages, "too many %ss in one publish: %d, the limit is %d", what, len(in), limit)
	}
	return nil
}

// size looks at how large they are together.
func (o *CanonicalOptions) size(messages []channel.Message) *ErrorInfo {
	if size := Size(messages); o.MaxSize > 0 && size > o.MaxSize {
		return Errorf(CodeTooLarge, "the publish has %d bytes, the limit is %d", size, o.MaxSize)
	}
	return nil
}

// at says which message of several an error is about.
func at(err *ErrorInfo, i, n int) *ErrorInfo {
	if n == 1 {
		return err
	}
	e := *err
	e.Message = "message " + strings.TrimPrefix(MessageID("", i), ":") + ": " + e.Message
	return &e
}

func canonicalMessage(out *channel.Message, in *Message, bareJSON bool) *ErrorInfo {
	switch {
	case in.Err != nil:
		return in.Err
	case in.Action != MessageCreate && !in.changes():
		return Errorf(CodeBadParamValue, "a client cannot publish a message of action %d", in.Action)
	case len(in.ID) > idBytesMax:
		return Errorf(CodeBadMessageID, "the message id is longer than %d bytes", idBytesMax)
	case len(in.Encoding) > encodingBytesMax:
		return Errorf(CodeBadData, "the encoding is longer than %d bytes", encodingBytesMax)
	}
	*out = channel.Message{ID: in.ID, Name: in.Name, ClientID: in.ClientID, Encoding: in.Encoding, Extras: withoutDelta(in.Extras)}
	return canonicalData(out, in, bareJSON)
}

func canonicalData(out *channel.Message, in *Message, bareJSON bool) *ErrorInfo {
	switch in.Shape {
	case ShapeNone:
		return nil
	case ShapeString:
		out.Kind, out.Data = channel.StringData, in.Data
	case ShapeBinary:
		out.Kind, out.Data = channel.BinaryData, in.Data
	case ShapeJSON:
		if !bareJSON || in.Encoding != "" {
			return Errorf(CodeBadData, "data has to be a string or binary, this is an object or an array")
		}
		out.Kind, out.Data, out.Encoding = channel.StringData, in.Data, "json"
		return nil
	default:
		return Errorf(CodeBadData, "data has to be a string or binary, this is %.40s", in.Data)
	}
	rest, ok := outermostBase64(in.Encoding)
	if !ok {
		return nil
	}
	decoded, ok := decodeBase64(in.Data)
	if !ok {
		return Errorf(CodeBadData, "the encoding is %q, but data is not base64", in.Encoding)
	}
	out.Kind, out.Data, out.Encoding = channel.BinaryData, decoded, rest
	return nil
}

// outermostBase64 strips the step base64 from the end of an encoding; ok says whether it stood there.
func outermostBase64(encoding string) (rest string, ok bool) {
	if encoding == "base64" {
		return "", true
	}
	return strings.CutSuffix(encoding, "/base64")
}

// decodeBase64 takes the standard alphabet with or without padding. Unlike the library it takes no line breaks.
func decodeBase64(text []byte) ([]byte, bool) {
	if bytes.ContainsAny(text, "\r\n") {
		return nil, false
	}
	enc := base64.RawStdEncoding
	if bytes.HasSuffix(text, []byte("=")) {
		enc = base64.StdEncoding
	}
	out := make([]byte, enc.DecodedLen(len(text)))
	n, err := enc.Decode(out, text)
	return out[:n], err == nil
}

// Size is what counts towards the size limit of a publish, in bytes: names, client ids, data (decoded) and extras as
// JSON.
func Size(messages []channel.Message) int {
	n := 0
	for i := range messages {
		m := &messages[i]
		n += len(m.Name) + len(m.ClientID) + len(m.Data) + len(m.Extras)
	}
	return n
}

// splitIDs checks the ids of one publish. A single message may bear any; several bear none, or all of them
// <base>:<index> in order.
func splitIDs(messages []channel.Message) (base string, err *ErrorInfo) {
	first := messages[0].ID
	base, indexed := strings.CutSuffix(first, ":0")
	if base == "" {
		base, indexed = first, false
	}
	if len(messages) == 1 {
		if indexed {
			messages[0].ID = ""
		}
		return base, nil
	}
	for i := range messages {
		switch id := messages[i].ID; {
		case first == "" && id == "":
		case !indexed || id != MessageID(base, i):
			return "", Errorf(CodeBadMessageID,
				"invalid message id %q of message %d: several messages in one publish need ids of the form <base>:0, <base>:1, …", id, i)
		}
		messages[i].ID = ""
	}
	return base, nil
}
