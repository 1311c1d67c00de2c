package dispatch

import (
	"strings"
	"testing"

	"innkeeper/channel"
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
	items, err := itemsOf(&Rule{Source: SourceChannelMessage}, "site", list)
	if err != nil || len(items) != 2 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	for i, want := range []string{`"data":"hello"`, `"data":"hello!"`} {
		if got := string(items[i].Data); !strings.Contains(got, want) || !strings.Contains(got, `"action":1`) || !strings.Contains(got, `"serial":"s1:000"`) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}
