package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"innkeeper/channel"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

// genText is any UTF-8 text, biased towards what has to be escaped.
var genText = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"", "\"", "\\", "\u2028", "\x00", "\x1f", "\x7f", "é", "😀", "\ufffd", "</script>", strings.Repeat("long ", 10), "/base64", ":0",
	})), 0, 3).Draw(t, "parts"), "")
})

var genExtras = rapid.Custom(func(t *rapid.T) []byte {
	if rapid.Bool().Draw(t, "absent") {
		return nil
	}
	m := map[string]any{}
	for _, k := range rapid.SliceOfN(genText, 0, 20).Draw(t, "keys") {
		m[k] = genValue(t, 3)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	w := writer{f: JSON} // in our own spelling of escapes
	if !transcode(&w, &jsonSource{b: text}) {
		t.Fatalf("transcode of %s", text)
	}
	return w.b
})

func genValue(t *rapid.T, depth int) any {
	switch rapid.IntRange(0, 6+2*min(depth, 1)).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int64().Draw(t, "int")
	case 3:
		return rapid.Uint64().Draw(t, "uint")
	case 4:
		return rapid.Float64().Draw(t, "float")
	case 5, 6:
		return genText.Draw(t, "text")
	case 7:
		list := make([]any, rapid.IntRange(0, 20).Draw(t, "len"))
		for i := range list {
			list[i] = genValue(t, depth-1)
		}
		return list
	}
	m := map[string]any{}
	for range rapid.IntRange(0, 20).Draw(t, "len") {
		m[genText.Draw(t, "key")] = genValue(t, depth-1)
	}
	return m
}

var genMessage = rapid.Custom(func(t *rapid.T) channel.Message {
	m := channel.Message{
		Name: genText.Draw(t, "name"), ClientID: genText.Draw(t, "clientId"), Extras: genExtras.Draw(t, "extras"),
		Kind: rapid.SampledFrom([]channel.DataKind{channel.NoData, channel.StringData, channel.BinaryData}).Draw(t, "kind"),
	}
	switch m.Kind {
	case channel.StringData:
		m.Data = []byte(genText.Draw(t, "data"))
	case channel.BinaryData:
		m.Data = append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "data")...)
	}
	m.Encoding = rapid.SampledFrom([]string{"", "json", "utf-8/cipher+aes-128-cbc", "json/utf-8"}).Draw(t, "encoding")
	return m
})

// What a publisher sends in one format reaches a receiver of any format unchanged.
func TestMessagesSurviveBothFormats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := channel.Delivery{
			Serial: genText.Draw(t, "serial"), ID: rapid.StringN(1, 40, -1).Draw(t, "id"), ConnID: genText.Draw(t, "connection"),
			TimeMs: rapid.Int64Range(0, 1<<53).Draw(t, "time"), Messages: rapid.SliceOfN(genMessage, 1, 20).Draw(t, "messages"),
		}
		name := genText.Draw(t, "channel")
		in, out := rapid.SampledFrom(formats).Draw(t, "in"), rapid.SampledFrom(formats).Draw(t, "out")

		published := decode(t, in, AppendPublish(nil, in, name, 5, nil, d.Messages...))
		messages, base, err := Canonical(published.Messages, CanonicalOptions{})
		if err != nil || base != "" || !same(t, messages, d.Messages) {
			t.Fatalf("published %+v\n got %+v, %q, %v", d.Messages, messages, base, err)
		}

		d.Messages = messages
		delivered := decode(t, out, AppendMessage([]byte("before"), out, name, &d)[len("before"):])
		if delivered.Channel != name || delivered.ChannelSerial != d.Serial || delivered.ID != d.ID || delivered.ConnectionID != d.ConnID || delivered.Timestamp != d.TimeMs {
			t.Fatalf("delivered %+v of %+v", delivered, d)
		}
		for i, m := range delivered.Messages {
			serial := MessageSerial(d.Serial, i)
			if d.Serial == "" {
				serial = ""
			}
			if m.ID != MessageID(d.ID, i) || m.Serial != serial || m.VersionSerial != serial || m.Timestamp != d.TimeMs || m.Action != 0 {
				t.Fatalf("message %d: %+v", i, m)
			}
		}
		got, base, err := Canonical(delivered.Messages, CanonicalOptions{})
		if err != nil || base != d.ID && len(got) > 1 {
			t.Fatalf("base %q of %q, %v", base, d.ID, err)
		}
		for i := range got {
			got[i].ID = ""
		}
		if !same(t, got, d.Messages) {
			t.Fatalf("delivered %+v\nas %+v", d.Messages, got)
		}
	})
}

// same compares messages, extras by their values: 1.0 and 1 are one number.
func same(t *rapid.T, a, b []channel.Message) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	for i := range min(len(a), len(b)) {
		x, y := a[i].Extras, b[i].Extras
		if (x == nil) != (y == nil) || x != nil && !reflect.DeepEqual(plain(t, x), plain(t, y)) {
			return false
		}
		a[i].Extras, b[i].Extras = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func decode(t *rapid.T, f Format, b []byte) *ProtocolMessage {
	if f == JSON && !json.Valid(b) {
		t.Fatalf("not JSON: %q", b)
	}
	pm, err := Decode(f, b)
	if err != nil {
		t.Fatalf("%v: %q", err, b)
	}
	return pm
}

// Any text that is not UTF-8 is repaired: a frame is well-formed whatever stands in it.
func TestFramesAreWellFormedWhateverStandsInThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		any := func(label string) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, label)) }
		e := &ErrorInfo{Message: any("message"), Code: 1, StatusCode: 2, Href: any("href"), Detail: map[string]string{any("key"): any("value")}}
		d := &channel.Delivery{Serial: any("serial"), ID: any("id"), ConnID: any("conn"), Messages: []channel.Message{
			{ID: any("mid"), Name: any("name"), ClientID: any("client"), Encoding: any("encoding"), Kind: channel.BinaryData, Data: []byte(any("data"))}}}
		for _, f := range formats {
			for _, b := range [][]byte{
				AppendMessage(nil, f, any("channel"), d),
				AppendAttached(nil, f, &Attached{Channel: any("channel"), Params: e.Detail, Error: e}),
				AppendOccupancy(nil, f, any("channel"), any("id"), 1, &goldenCounts, AllCategories),
				AppendAck(nil, f, 1, Ack{any("serial"), 3}),
				AppendConnected(nil, f, &Connected{ConnectionID: any("conn"), Details: ConnectionDetails{ClientID: any("client")}}),
			} {
				decode(t, f, b)
			}
		}
	})
}

// JSON → msgpack → JSON keeps every value, and another msgpack decoder reads the same.
func TestTranscode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(genValue(t, 4))
		if err != nil {
			t.Fatal(err)
		}
		packed := writer{f: MsgPack}
		if !transcode(&packed, &jsonSource{b: text}) {
			t.Fatalf("to msgpack: %s", text)
		}
		var theirs any
		if err := msgpack.Unmarshal(packed.b, &theirs); err != nil {
			t.Fatalf("%v: %x of %s", err, packed.b, text)
		}
		back := writer{f: JSON}
		src := &msgpackSource{b: packed.b}
		if !transcode(&back, src) || src.i != len(packed.b) {
			t.Fatalf("to JSON: %x of %s", packed.b, text)
		}
		if got, want := plain(t, back.b), plain(t, text); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %s\nwant %s", back.b, text)
		}
		theirText, err := json.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := plain(t, theirText), plain(t, text); !reflect.DeepEqual(got, want) {
			t.Fatalf("they got %s\nwant %s", theirText, text)
		}
	})
}

// plain reads JSON with all numbers as float64.
func plain(t *rapid.T, text []byte) (v any) {
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func TestLongContainersAreWidenedInPlace(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 65535, 65536} {
		list := make([]any, n)
		text, _ := json.Marshal(map[string]any{"before": 1, "list": list, "after": "x"})
		w := writer{b: []byte("kept"), f: MsgPack}
		transcode(&w, &jsonSource{b: text})
		if !bytes.HasPrefix(w.b, []byte("kept")) {
			t.Fatal("bytes before the frame were touched")
		}
		m := checkMsgpack(t, w.b[4:]).(map[string]any)
		if len(m["list"].([]any)) != n || m["after"] != "x" || fmt.Sprint(m["before"]) != "1" {
			t.Errorf("%d entries: %d came back, after %v", n, len(m["list"].([]any)), m["after"])
		}
	}
}
