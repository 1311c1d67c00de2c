package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"innkeeper/channel"

	"github.com/vmihailenco/msgpack/v5"
)

func seedFrames(f *testing.F, format Format) {
	for name, frame := range goldenFrames {
		if !strings.HasPrefix(name, "rest_") {
			f.Add(frame(format))
		}
	}
}

func FuzzDecodeJSON(f *testing.F) {
	seedFrames(f, JSON)
	f.Fuzz(func(t *testing.T, b []byte) {
		pm, err := Decode(JSON, b)
		valid := json.Valid(b) && utf8.Valid(b)
		if err == nil {
			if !valid {
				t.Fatalf("took what is not JSON: %q", b)
			}
			checkDecoded(t, pm)
			return
		}
		var info *ErrorInfo
		if !errors.As(err, &info) || info.Message == "" {
			t.Fatalf("error %v", err)
		}
		object := bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{"))
		if valid && object && info.Code == CodeProtocolError && !strings.Contains(info.Message, "nested deeper") {
			t.Fatalf("refused JSON: %v\n%q", err, b)
		}
	})
}

func FuzzDecodeMsgpack(f *testing.F) {
	seedFrames(f, MsgPack)
	f.Fuzz(func(t *testing.T, b []byte) {
		pm, err := Decode(MsgPack, b)
		if err != nil {
			var info *ErrorInfo
			if !errors.As(err, &info) || info.Message == "" {
				t.Fatalf("error %v", err)
			}
			return
		}
		r := bytes.NewReader(b)
		if err := msgpack.NewDecoder(r).Skip(); err != nil || r.Len() > 0 {
			t.Fatalf("took what another decoder refuses (%v, %d bytes left): %x", err, r.Len(), b)
		}
		checkDecoded(t, pm)
	})
}

// checkDecoded puts a decoded frame through what the edge does with it.
func checkDecoded(t *testing.T, pm *ProtocolMessage) {
	if len(pm.Messages) > MaxMessages || len(pm.Params) > MaxParams {
		t.Fatalf("kept %d messages, %d params", len(pm.Messages), len(pm.Params))
	}
	RequestedModes(pm.Params, pm.Flags)
	nameErr := ValidateName(pm.Channel)
	for _, f := range formats {
		AppendChannelError(nil, f, pm.Channel, nameErr)
	}
	checkPresence(t, pm)
	messages, base, err := Canonical(pm.Messages, CanonicalOptions{BareJSON: true})
	if err != nil {
		return
	}
	for i := range messages {
		if x := messages[i].Extras; x != nil && !json.Valid(x) {
			t.Fatalf("extras are not JSON: %q", x)
		}
	}
	d := &channel.Delivery{Serial: "s", ID: base, ConnID: pm.ConnectionID, Messages: messages}
	for _, f := range formats {
		b := AppendMessage(nil, f, pm.Channel, d)
		if f == JSON && !json.Valid(b) {
			t.Fatalf("delivery is not JSON: %q", b)
		}
		again, err := Decode(f, b)
		if err != nil || len(again.Messages) != len(messages) {
			t.Fatalf("delivery cannot be read: %v\n%q", err, b)
		}
	}
}

func checkPresence(t *testing.T, pm *ProtocolMessage) {
	members, err := CanonicalPresence(pm.Presence, pm.ConnectionID, CanonicalOptions{MaxSize: 1 << 16})
	if err != nil {
		return
	}
	d := &channel.Delivery{Serial: "s", ID: pm.ID, ConnID: pm.ConnectionID, Presence: members}
	for _, f := range formats {
		for _, b := range [][]byte{AppendPresence(nil, f, pm.Channel, d), AppendSync(nil, f, pm.Channel, "1:", members)} {
			if f == JSON && !json.Valid(b) {
				t.Fatalf("presence is not JSON: %q", b)
			}
			again, err := Decode(f, b)
			if err != nil || len(again.Presence) != len(members) {
				t.Fatalf("presence cannot be read: %v\n%q", err, b)
			}
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"foo", "[?rewind=1]foo", "[meta]x", "[filter=eA==?a=b]c", "[", ":x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			if err.Code != CodeBadChannelName || !utf8.ValidString(err.Message) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if again, err := ParseName(n.Channel()); err != nil || again.Channel() != n.Channel() || again.Params != nil {
			t.Fatalf("the channel %q of %q is no plain name: %+v, %v", n.Channel(), s, again, err)
		}
	})
}
