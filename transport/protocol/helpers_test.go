package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

var formats = []Format{JSON, MsgPack}

func mustDecode(t testing.TB, f Format, b []byte) *ProtocolMessage {
	t.Helper()
	pm, err := Decode(f, b)
	if err != nil {
		t.Fatalf("Decode(%s, %q): %v", f, b, err)
	}
	return pm
}

// printFrame shows a decoded frame with its data decoded from base64, so that the formats can be compared.
func printFrame(pm *ProtocolMessage) string {
	c := *pm
	c.Messages, c.Presence = nil, nil
	text, _ := json.Marshal(c)
	for _, m := range append(slices.Clone(pm.Messages), pm.Presence...) {
		if rest, ok := outermostBase64(m.Encoding); ok && m.Shape == ShapeString {
			m.Data, _ = decodeBase64(m.Data)
			m.Encoding, m.Shape = rest, ShapeBinary
		}
		text = fmt.Appendf(text, "\n%+v", m)
	}
	return string(text)
}

// checkMsgpack has another decoder read b: exactly one value and nothing behind it.
func checkMsgpack(t testing.TB, b []byte) any {
	t.Helper()
	r := bytes.NewReader(b)
	v, err := msgpack.NewDecoder(r).DecodeInterfaceLoose()
	if err != nil {
		t.Fatalf("not msgpack: %v\n%x", err, b)
	}
	if r.Len() > 0 {
		t.Fatalf("%d bytes behind the msgpack value\n%x", r.Len(), b)
	}
	return v
}
