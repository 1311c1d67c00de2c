package protocol

import "innkeeper/channel"

func Decode(f Format, b []byte) (*ProtocolMessage, error) { return nil, NewError(CodeProtocolError) }

func Canonical(in []Message, o CanonicalOptions) (messages []channel.Message, idBase string, err *ErrorInfo) {
	return nil, "", nil
}

func appendMsgpackFromJSON(b, text []byte) []byte { return append(b, 0xc0) }
