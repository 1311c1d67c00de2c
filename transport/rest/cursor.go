package rest

import (
	"encoding/binary"
	"strings"

	"innkeeper/channel"
	"innkeeper/transport/opaque"
	"innkeeper/transport/protocol"
)

// A cursor is opaque to clients: base64url of a version, the hash, the app, a zero byte, the name. It names a place in
// the order of enumeration and not a page, so it does not age.
const cursorVersion = 1

func formatCursor(p channel.Position) string {
	b := []byte{cursorVersion}
	b = binary.BigEndian.AppendUint64(b, p.Hash)
	b = append(b, p.App...)
	b = append(b, 0)
	b = append(b, p.Name...)
	return opaque.Text(b)
}

// parseCursor reads a cursor of an app. Text that is none is 40003; one of another version of the server is 40011, which
// tells the client to start again.
func parseCursor(text, app string) (channel.Position, *protocol.ErrorInfo) {
	b, ok := opaque.Bytes(text)
	if !ok || len(b) < 1+8+1 {
		return channel.Position{}, protocol.Errorf(protocol.CodeBadParamValue, "cursor %.100q is not one this server gave", text)
	}
	if b[0] != cursorVersion {
		return channel.Position{}, protocol.NewError(protocol.CodeStalePage)
	}
	gotApp, name, ok := strings.Cut(string(b[9:]), "\x00")
	if !ok || gotApp != app && gotApp != "" {
		return channel.Position{}, protocol.Errorf(protocol.CodeBadParamValue, "cursor %.100q is not one this server gave for this app", text)
	}
	return channel.Position{Hash: binary.BigEndian.Uint64(b[1:9]), App: gotApp, Name: name}, nil
}
