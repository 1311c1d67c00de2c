package dispatch

import (
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

func TestChangesAreToldWithAllOfTheirMessage(t *testing.T) {
	edit := func(action channel.Action) *channel.Edit {
		return &channel.Edit{Action: action, Serial: "s1:000", CreatedMs: 1, Version: "s2:000", VersionMs: 2, Type: "r:total.v1"}
	}
	text := func(s string, e *channel.Edit) channel.Message {
		return channel.Message{Name: "m", Kind: channel.StringData, Data: []byte(s), Edit: e}
	}
	grown := edit(channel.MessageAppend)
	whole := text("hello!", nil)
	grown.Whole = &whole
	list := []*channel.Delivery{
		{Name: "a", Serial: "s2", Messages: []channel.Message{text("hello", edit(channel.MessageUpdate))}},
		{Name: "a", Serial: "s3", Messages: []channel.Message{text("!", grown)}},
		{Name: "a", Serial: "s4", Messages: []channel.Message{text("", edit(channel.Annotate))}},
	}
	items := itemsOf(&Rule{Source: SourceChannelMessage}, "site", list)
	if len(items) != 2 {
		t.Fatalf("%d items", len(items))
	}
	for i, want := range []string{`"data":"hello"`, `"data":"hello!"`} {
		if got := string(items[i].Data); !strings.Contains(got, want) || !strings.Contains(got, `"action":1`) || !strings.Contains(got, `"serial":"s1:000"`) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}

// TestPlainHeadersTellChangesApart has a header of what was done, and to which message.
func TestPlainHeadersTellChangesApart(t *testing.T) {
	edit := func(action channel.Action) *channel.Edit {
		return &channel.Edit{Action: action, Serial: "s1:001", CreatedMs: 1, Version: "s2:000", VersionMs: 2}
	}
	whole := channel.Message{Kind: channel.StringData, Data: []byte("hello!")}
	grown := edit(channel.MessageAppend)
	grown.Whole = &whole
	r := Rule{Source: SourceChannelMessage, Ably: AblyForm{Single: true, Plain: true}}
	for _, c := range []struct {
		index                            int
		message                          channel.Message
		action, serial, version, payload string
	}{
		{1, channel.Message{Kind: channel.StringData, Data: []byte("hello")}, "0", "s2:001", "", "hello"},
		{0, channel.Message{Edit: edit(channel.MessageUpdate), Kind: channel.StringData, Data: []byte("bye")}, "1", "s1:001", "s2:000", "bye"},
		{0, channel.Message{Edit: edit(channel.MessageDelete)}, "2", "s1:001", "s2:000", ""},
		{0, channel.Message{Edit: grown, Kind: channel.StringData, Data: []byte("!")}, "1", "s1:001", "s2:000", "hello!"},
	} {
		d := &channel.Delivery{Name: "a", Serial: "s2", Messages: append(make([]channel.Message, c.index), c.message)}
		items := itemsOf(&r, "here", []*channel.Delivery{d})
		body, headers := AblyRequest(&r, "here", items[c.index:])
		if headers["X-Ably-Message-Action"] != c.action || headers["X-Ably-Message-Serial"] != c.serial || headers["X-Ably-Message-Version"] != c.version || string(body) != c.payload {
			t.Errorf("%q with %v, want action %s, serial %s, version %q and %q", body, headers, c.action, c.serial, c.version, c.payload)
		}
	}
}

// TestMsgpackCarriesBinaryData has a rule's requests in msgpack: binary data is binary there, in a batch and in an envelope.
func TestMsgpackCarriesBinaryData(t *testing.T) {
	list := []*channel.Delivery{{Name: "a", Serial: "s", TimeMs: 5, Messages: []channel.Message{{Kind: channel.BinaryData, Data: []byte{0, 0xff}}}}}
	for _, single := range []bool{false, true} {
		r := Rule{ID: "all", App: "demo", Source: SourceChannelMessage, Ably: AblyForm{Single: single, Encoding: protocol.MsgPack}}
		body, headers := AblyRequest(&r, "here", itemsOf(&r, "here", list))
		type message struct {
			Data     any    `msgpack:"data"`
			Encoding string `msgpack:"encoding"`
		}
		var b struct {
			Items []struct {
				Timestamp int64 `msgpack:"timestamp"`
				Data      struct {
					Messages []message `msgpack:"messages"`
				} `msgpack:"data"`
			} `msgpack:"items"`
			Timestamp int64     `msgpack:"timestamp"`
			Messages  []message `msgpack:"messages"`
		}
		if err := msgpack.Unmarshal(body, &b); err != nil {
			t.Fatalf("%x: %v", body, err)
		}
		if !single {
			b.Timestamp, b.Messages = b.Items[0].Timestamp, b.Items[0].Data.Messages
		}
		want := []message{{Data: []byte{0, 0xff}}}
		if headers["Content-Type"] != "application/x-msgpack" || b.Timestamp != 5 || !reflect.DeepEqual(b.Messages, want) {
			t.Errorf("single %v: %v with %v", single, b, headers)
		}
	}
}
