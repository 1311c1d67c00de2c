package protocol

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestDocumentsGoThroughEitherFormat(t *testing.T) {
	const text = `{"keyName":"a.b","ttl":3600000,"deep":[{"x":null},true,-1.5,"é"],"none":{}}`
	for _, f := range []Format{JSON, MsgPack} {
		got, err := DocumentJSON(f, AppendDocument(nil, f, []byte(text)))
		if err != nil {
			t.Fatalf("%v: %v", f, err)
		}
		var a, b any
		if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(text), &b) != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%v: got %s", f, got)
		}
	}
}

func TestDocumentsThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		f    Format
		body string
		code int
	}{
		{JSON, `{"a":`, CodeBadBody},
		{JSON, `{} {}`, CodeBadBody},
		{JSON, strings.Repeat("[", MaxDepth+1), CodeBadBody},
		{MsgPack, "\x81\xa1a", CodeBadBody},
		{MsgPack, "\xdd\xff\xff\xff\xff", CodeBadBody},
		{MsgPack, "\x81\xa1a\xc4\x01x", CodeBadBody}, // binary
		{JSON, strings.Repeat(" ", MaxFrameBytes+1), CodeTooLarge},
	} {
		if _, err := DocumentJSON(c.f, []byte(c.body)); err == nil || err.Code != c.code {
			t.Errorf("%v %.20q: %v, want %d", c.f, c.body, err, c.code)
		}
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"a":[1,"x"]}`), false)
	f.Add([]byte("\x82\xa1a\x93\x01\xa1x\xc0\xa1b\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"), true)
	f.Fuzz(func(t *testing.T, b []byte, packed bool) {
		format := JSON
		if packed {
			format = MsgPack
		}
		text, err := DocumentJSON(format, b)
		if err == nil && len(text) > 0 && !json.Valid(text) {
			t.Fatalf("%q became %q", b, text)
		}
	})
}
