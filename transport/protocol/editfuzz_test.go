package protocol

import (
	"bytes"
	"encoding/json"
	"testing"

	"innkeeper/channel"
)

// Whatever is taken as a change, annotations or a batch can be written in both formats, and is within its bounds.
func FuzzBodies(f *testing.F) {
	for _, body := range []string{
		`{"action":1,"serial":"s:000","name":"n","data":{"a":1},"version":{"clientId":"c","description":"d","metadata":{"k":"v"}}}`,
		`{"action":5,"serial":"s:000","data":"aGk=","encoding":"base64","extras":{"delta":{"from":"x"},"ephemeral":true}}`,
		`[{"type":"a:multiple.v1","name":"n","count":3,"clientId":"c","data":"x"},{"action":1,"type":"a:flag.v1","messageSerial":"s"}]`,
		`[{"channels":["a","b"],"messages":[{"id":"x:0"},{"id":"x:1"}]},{"channels":"c","messages":{"data":null}}]`,
		`{"channels":[],"messages":[[]]}`,
	} {
		f.Add([]byte(body), false)
	}
	f.Add(AppendMessages(nil, MsgPack, channel.Message{ID: "x", Kind: channel.BinaryData, Data: []byte{1}}), true)
	f.Fuzz(func(t *testing.T, body []byte, binary bool) {
		format := JSON
		if binary {
			format = MsgPack
		}
		show := func(messages []channel.Message, err *ErrorInfo) {
			if err != nil {
				return
			}
			d := &channel.Delivery{Name: "c", Serial: "s", ID: "id", Messages: messages}
			for _, to := range []Format{JSON, MsgPack} {
				frame := AppendMessage(nil, to, "c", Full(d))
				if Annotations(d) {
					frame = AppendAnnotations(nil, to, "c", d)
				}
				if to == JSON && !json.Valid(frame) {
					t.Fatalf("%q gives %q", body, frame)
				}
				if _, err := Decode(to, frame); err != nil && len(frame) < MaxFrameBytes {
					t.Fatalf("%q gives %q: %v", body, frame, err)
				}
			}
			EchoUnwanted(messages)
			if _, err := Ephemeral(messages); err != nil && err.Code != CodeBadExtras {
				t.Fatal(err)
			}
			for i := range messages {
				if extras := WithDelta(messages[i].Extras, "x"); !json.Valid(extras) || !bytes.Contains(extras, []byte(`"delta"`)) {
					t.Fatalf("extras %s", extras)
				}
			}
		}
		if in, _, err := DecodeMessages(format, body); err == nil {
			out, _, err := Canonical(in, CanonicalOptions{BareJSON: true})
			show(out, err)
		}
		if in, _, err := DecodeAnnotations(format, body, "s"); err == nil {
			out, _, err := CanonicalAnnotations(in, CanonicalOptions{})
			show(out, err)
		}
		specs, _, err := DecodeBatch(format, body)
		if err == nil && len(specs) > BatchSpecsMax {
			t.Fatalf("%d specs", len(specs))
		}
		mentions := 0
		for i := range specs {
			mentions += len(specs[i].Channels)
			if mentions > BatchMentionsMax+1 || len(specs[i].Messages) > MaxMessages {
				t.Fatalf("%d channels, %d messages", mentions, len(specs[i].Messages))
			}
		}
	})
}
