package protocol

import (
	"reflect"
	"strings"
	"testing"

	"innkeeper/channel"
)

func TestCanonicalData(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Message
		bare bool
		want channel.Message
	}{
		{"nothing", Message{}, false, channel.Message{}},
		{"string", Message{Shape: ShapeString, Data: []byte("x")}, false, channel.Message{Kind: channel.StringData, Data: []byte("x")}},
		{"empty string", Message{Shape: ShapeString, Data: []byte{}}, false, channel.Message{Kind: channel.StringData, Data: []byte{}}},
		{"binary", Message{Shape: ShapeBinary, Data: []byte{255}}, false, channel.Message{Kind: channel.BinaryData, Data: []byte{255}}},
		{"empty binary", Message{Shape: ShapeString, Data: []byte{}, Encoding: "base64"}, false, channel.Message{Kind: channel.BinaryData, Data: []byte{}}},
		{"base64", Message{Shape: ShapeString, Data: []byte("AAH+/w=="), Encoding: "base64"}, false, channel.Message{Kind: channel.BinaryData, Data: []byte{0, 1, 254, 255}}},
		{"base64 without padding", Message{Shape: ShapeString, Data: []byte("AAH+/w"), Encoding: "base64"}, false, channel.Message{Kind: channel.BinaryData, Data: []byte{0, 1, 254, 255}}},
		{"base64 outside of others", Message{Shape: ShapeString, Data: []byte("eA=="), Encoding: "json/utf-8/cipher+aes-128-cbc/base64"}, false, channel.Message{Kind: channel.BinaryData, Data: []byte("x"), Encoding: "json/utf-8/cipher+aes-128-cbc"}},
		{"base64 in msgpack", Message{Shape: ShapeBinary, Data: []byte("eA=="), Encoding: "base64"}, false, channel.Message{Kind: channel.BinaryData, Data: []byte("x")}},
		{"base64 inside of others", Message{Shape: ShapeString, Data: []byte("eA=="), Encoding: "base64/utf-8"}, false, channel.Message{Kind: channel.StringData, Data: []byte("eA=="), Encoding: "base64/utf-8"}},
		{"json text", Message{Shape: ShapeString, Data: []byte(`{}`), Encoding: "json"}, false, channel.Message{Kind: channel.StringData, Data: []byte(`{}`), Encoding: "json"}},
		{"bare json", Message{Shape: ShapeJSON, Data: []byte(`{"a":1}`)}, true, channel.Message{Kind: channel.StringData, Data: []byte(`{"a":1}`), Encoding: "json"}},
	} {
		got, _, err := Canonical([]Message{c.in}, CanonicalOptions{BareJSON: c.bare})
		if err != nil || !reflect.DeepEqual(got[0], c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	for _, bad := range []Message{
		{Shape: ShapeString, Data: []byte("eA="), Encoding: "base64"},
		{Shape: ShapeString, Data: []byte("eA==\n"), Encoding: "base64"},
		{Shape: ShapeString, Data: []byte("ä"), Encoding: "utf-8/base64"},
		{Shape: ShapeJSON, Data: []byte("{}"), Encoding: "json"},
		{Shape: ShapeScalar, Data: []byte("5")},
		{Encoding: strings.Repeat("x", 1000)},
	} {
		if _, _, err := Canonical([]Message{bad}, CanonicalOptions{BareJSON: true}); err == nil || err.Code != CodeBadData {
			t.Errorf("%+v: %v, want code 40013", bad, err)
		}
	}
}

func TestCanonicalIDs(t *testing.T) {
	for _, c := range []struct {
		ids  []string
		base string
		left []string // ids that stay in the messages
		code int
	}{
		{[]string{""}, "", []string{""}, 0},
		{[]string{"", ""}, "", []string{"", ""}, 0},
		{[]string{"any"}, "any", []string{"any"}, 0},
		{[]string{"any:1"}, "any:1", []string{"any:1"}, 0},
		{[]string{"b:0"}, "b", []string{""}, 0},
		{[]string{":0"}, ":0", []string{":0"}, 0},
		{[]string{"b:0", "b:1", "b:2"}, "b", []string{"", "", ""}, 0},
		{[]string{"b:c:0", "b:c:1"}, "b:c", []string{"", ""}, 0},
		{[]string{"b:0", "b:2"}, "", nil, 40031},
		{[]string{"b:1", "b:2"}, "", nil, 40031},
		{[]string{"b:0", "c:1"}, "", nil, 40031},
		{[]string{"b:0", ""}, "", nil, 40031},
		{[]string{"", "b:1"}, "", nil, 40031},
		{[]string{"x", "y"}, "", nil, 40031},
		{[]string{"b:0", "b:01"}, "", nil, 40031},
		{[]string{strings.Repeat("x", 2000)}, "", nil, 40031},
	} {
		in := make([]Message, len(c.ids))
		for i, id := range c.ids {
			in[i].ID = id
		}
		got, base, err := Canonical(in, CanonicalOptions{})
		if c.code != 0 {
			if err == nil || err.Code != c.code {
				t.Errorf("%.40q: %v, want code %d", c.ids, err, c.code)
			}
			continue
		}
		var left []string
		for _, m := range got {
			left = append(left, m.ID)
		}
		if err != nil || base != c.base || !reflect.DeepEqual(left, c.left) {
			t.Errorf("%q: base %q, ids %q, %v; want %q, %q", c.ids, base, left, err, c.base, c.left)
		}
	}
}

func TestCanonicalLimits(t *testing.T) {
	m := Message{Name: "1234", ClientID: "123", Shape: ShapeString, Data: []byte("MTIzNDU="), Encoding: "base64", Extras: []byte(`{"a":1}`)}
	// 4 + 3 + 5 decoded + 7 bytes each; neither base64 nor the encoding count.
	if _, _, err := Canonical([]Message{m, m}, CanonicalOptions{MaxSize: 38}); err != nil {
		t.Errorf("38 bytes of 38: %v", err)
	}
	if _, _, err := Canonical([]Message{m, m}, CanonicalOptions{MaxSize: 37}); err == nil || err.Code != CodeTooLarge {
		t.Errorf("38 bytes of 37: %v, want code 40009", err)
	}
	if _, _, err := Canonical(make([]Message, 3), CanonicalOptions{MaxMessages: 2}); err == nil || err.Code != CodeTooManyMessages {
		t.Errorf("3 messages of 2: %v, want code 40034", err)
	}
	_, _, err := Canonical([]Message{{}, {Err: Errorf(CodeBadExtras, "fault")}}, CanonicalOptions{})
	if err == nil || err.Message != "message 1: fault" {
		t.Errorf("the fault of message 1 is told as %v", err)
	}
}
