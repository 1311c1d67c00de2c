package protocol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"innkeeper/channel"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var goldenDelivery = channel.Delivery{
	App: "demo", Name: "room", Serial: "01726585978590-001@series", ID: "conn1:7", ConnID: "conn1", TimeMs: 1726585978590,
	Messages: []channel.Message{
		{Name: "greet", ClientID: "alice", Kind: channel.StringData, Data: []byte("hello \"you\"\n")},
		{Kind: channel.BinaryData, Data: []byte{0, 1, 0xfe, 0xff}},
		{Kind: channel.BinaryData, Data: []byte("secret"), Encoding: "utf-8/cipher+aes-128-cbc"},
		{ID: "own-id", Kind: channel.StringData, Data: []byte(`{"a":1}`), Encoding: "json", Extras: []byte(`{"headers":{"n":-70000,"f":1.5,"ok":true,"none":null,"list":[1,300,70000,5000000000]}}`)},
		{Kind: channel.StringData, Data: []byte{}},
		{Name: "no data"},
	},
}

var goldenMembers = []channel.Member{
	{Action: channel.Enter, ID: "conn1:7:0", ConnID: "conn1", ClientID: "alice", TimeMs: 1726585978590, Kind: channel.StringData, Data: []byte(`{"a":1}`), Encoding: "json"},
	{Action: channel.Present, ID: "conn1:5:0", ConnID: "conn1", ClientID: "bob", TimeMs: 1726585978500, Kind: channel.BinaryData, Data: []byte{0, 255}, Extras: []byte(`{"headers":{"n":1}}`)},
	{Action: channel.Leave, ID: "~01726585978590-001", ConnID: "conn2", ClientID: "carol", TimeMs: 1726585978590},
}

// goldenEdit is a delivery of one message that does something to another.
func goldenEdit(action channel.Action, m channel.Message) *channel.Delivery {
	m.Edit = &channel.Edit{
		Action: action, Serial: "01726585978590-001@series:000", CreatedMs: 1726585978590, Version: "01726585979000-000@series:000",
		VersionMs: 1726585979000, By: "bob", Description: "why", Metadata: []byte(`{"k":"v"}`),
	}
	if action >= channel.Annotate {
		m.Edit.By, m.Edit.Description, m.Edit.Metadata, m.Edit.Type, m.Edit.Count = "", "", nil, "emoji:multiple.v1", 2
		m.Edit.Summary = []byte(`{"emoji:multiple.v1":{"👍":{"total":2,"clientIds":{"bob":2},"totalUnidentified":0,"clipped":false,"totalClientIds":1}}}`)
	}
	if action == channel.MessageAppend {
		m.Edit.Whole = &channel.Message{Name: "greet", ClientID: "alice", Kind: channel.StringData, Data: []byte("hello you")}
	}
	return &channel.Delivery{
		App: "demo", Name: "room", Serial: "01726585979000-000@series", ID: "conn2:3", ConnID: "conn2", TimeMs: 1726585979000,
		Messages: []channel.Message{m},
	}
}

var (
	goldenUpdate     = goldenEdit(channel.MessageUpdate, channel.Message{Name: "greet", ClientID: "alice", Kind: channel.StringData, Data: []byte("hello")})
	goldenAppend     = goldenEdit(channel.MessageAppend, channel.Message{Name: "greet", ClientID: "alice", Kind: channel.StringData, Data: []byte(" you")})
	goldenAnnotation = goldenEdit(channel.Annotate, channel.Message{Name: "👍", ClientID: "bob", Kind: channel.StringData, Data: []byte("[1]"), Encoding: "json"})
)

var goldenBatch = [][]BatchResult{
	{{Channel: "a", MessageID: "x", ChannelSerial: "01726585978590-001@series", Messages: 2}, {Channel: "b", Error: NewError(CodeNoCapability)}},
	{{Channel: "c", MessageID: "y", ChannelSerial: "01726585978590-002@series", Messages: 1}},
}

var goldenCounts = channel.Counts{3, 2, 3, 1, 0, 3, 0, 0}

// goldenFrames is one of each, by name.
var goldenFrames = map[string]func(Format) []byte{
	"connected": func(f Format) []byte {
		return AppendConnected(nil, f, &Connected{ConnectionID: "xbY3mZpQ4Kcd", Details: ConnectionDetails{
			ClientID: "*", ConnectionKey: "xbY3mZpQ4Kcd!key", MaxMessageSize: 65536, MaxFrameSize: 524288, MaxInboundRate: 1000,
			ConnectionStateTTL: 120000, MaxIdleInterval: 15000, ServerID: "n1"}})
	},
	"connected_failed_resume": func(f Format) []byte {
		return AppendConnected(nil, f, &Connected{ConnectionID: "id", Details: ConnectionDetails{ConnectionKey: "key"},
			Error: Errorf(CodeBadConnectionKey, "the connection key cannot be read")})
	},
	"attached": func(f Format) []byte {
		return AppendAttached(nil, f, &Attached{Channel: "[?rewind=1]room", ChannelSerial: "01726585978590-001@series",
			Flags: FlagResumed | DefaultModes, Params: map[string]string{"rewind": "1", "modes": "publish,subscribe"}})
	},
	"attached_plain": func(f Format) []byte {
		return AppendAttached(nil, f, &Attached{Channel: "room", Flags: ModeSubscribe,
			Error: NewError(CodePositionExpired)})
	},
	"detached":       func(f Format) []byte { return AppendDetached(nil, f, "room", nil) },
	"detached_error": func(f Format) []byte { return AppendDetached(nil, f, "room", NewError(CodeBusy)) },
	"error": func(f Format) []byte {
		return AppendError(nil, f, &ErrorInfo{Message: "invalid credentials", Code: 40101, StatusCode: 401,
			Href: "https://example.com/40101", Detail: map[string]string{"key": "demo.x", "hint": "look at the id"}})
	},
	"channel_error":        func(f Format) []byte { return AppendChannelError(nil, f, ":bad", ValidateName(":bad")) },
	"channel_error_noname": func(f Format) []byte { return AppendChannelError(nil, f, "", ValidateName("")) },
	"heartbeat":            func(f Format) []byte { return AppendHeartbeat(nil, f, "") },
	"heartbeat_reply":      func(f Format) []byte { return AppendHeartbeat(nil, f, "ping-1") },
	"disconnected":         func(f Format) []byte { return AppendDisconnected(nil, f, NewError(CodeDisconnected)) },
	"closed":               func(f Format) []byte { return AppendClosed(nil, f) },
	"auth":                 func(f Format) []byte { return AppendAuth(nil, f) },
	"ack": func(f Format) []byte {
		return AppendAck(nil, f, 0, Ack{"01726585978590-001@series", 1})
	},
	"ack_several": func(f Format) []byte {
		return AppendAck(nil, f, 41, Ack{"01726585978590-001@series", 2}, Ack{"", 1}, Ack{"", 0}, Ack{"01726585978591-000@series", 12})
	},
	"nack":                func(f Format) []byte { return AppendNack(nil, f, 7, 1, NewError(CodeNoCapability)) },
	"message":             func(f Format) []byte { return AppendMessage(nil, f, "room", &goldenDelivery) },
	"message_update":      func(f Format) []byte { return AppendMessage(nil, f, "room", goldenUpdate) },
	"message_append":      func(f Format) []byte { return AppendMessage(nil, f, "room", goldenAppend) },
	"message_append_full": func(f Format) []byte { return AppendMessage(nil, f, "room", Full(goldenAppend)) },
	"message_summary":     func(f Format) []byte { return AppendMessage(nil, f, "room", Summaries(goldenAnnotation)) },
	"annotation":          func(f Format) []byte { return AppendAnnotations(nil, f, "room", goldenAnnotation) },
	"rest_annotations": func(f Format) []byte {
		return AppendAnnotationList(nil, f, []*channel.Delivery{goldenAnnotation, goldenEdit(channel.Unannotate, channel.Message{Name: "👍"})})
	},
	"rest_message":           func(f Format) []byte { return AppendOne(nil, f, Past{Of: goldenUpdate}) },
	"rest_version_serial":    func(f Format) []byte { return AppendVersionSerial(nil, f, "01726585979000-000@series") },
	"rest_batch":             func(f Format) []byte { return AppendBatch(nil, f, goldenBatch, false) },
	"rest_batch_alone":       func(f Format) []byte { return AppendBatch(nil, f, goldenBatch, true) },
	"rest_batch_flat":        func(f Format) []byte { return AppendFlatBatch(nil, f, goldenBatch[1:]) },
	"rest_batch_flat_failed": func(f Format) []byte { return AppendFailedBatch(nil, f, NewError(CodeBatch), goldenBatch) },
	"rest_envelope": func(f Format) []byte {
		return AppendEnvelope(nil, f, 200, AppendTime(nil, f, 5), map[string]string{"Link": "<./x?a=1>; rel=\"first\""})
	},
	"message_rest": func(f Format) []byte {
		return AppendMessage(nil, f, "[?rewind=1]röom\u2028", &channel.Delivery{Serial: "s", ID: "base", TimeMs: 1,
			Messages: []channel.Message{{Name: "n", Kind: channel.StringData, Data: []byte("grüße 😀")}}})
	},
	"occupancy": func(f Format) []byte {
		return AppendOccupancy(nil, f, "room", "V12G5ABc_M:0", 1612286351217, &goldenCounts, AllCategories)
	},
	"occupancy_subscribers": func(f Format) []byte {
		return AppendOccupancy(nil, f, "room", "V12G5ABc_M:1", 1612286351218, &goldenCounts, channel.Subscribers)
	},
	"presence": func(f Format) []byte {
		return AppendPresence(nil, f, "[?rewind=1]room", &channel.Delivery{
			Serial: "01726585978590-001@series", ID: "conn1:7", ConnID: "conn1", TimeMs: 1726585978590, Presence: goldenMembers,
		})
	},
	"sync_empty":      func(f Format) []byte { return AppendSync(nil, f, "room", "", nil) },
	"sync_page":       func(f Format) []byte { return AppendSync(nil, f, "room", "1a:2", goldenMembers[:2]) },
	"client_presence": func(f Format) []byte { return AppendClientPresence(nil, f, "room", 0, goldenMembers...) },
	"client_sync":     func(f Format) []byte { return AppendClientSync(nil, f, "room") },
	"rest_presence":   func(f Format) []byte { return AppendMembers(nil, f, goldenMembers) },
	"rest_presence_batch": func(f Format) []byte {
		return AppendPresenceBatch(nil, f, []PresenceOf{{Channel: "a", Members: goldenMembers[:1]}, {Channel: "b"}, {Channel: "c", Err: NewError(CodeNoCapability)}})
	},
	"rest_presence_batch_failed": func(f Format) []byte {
		return AppendPresenceBatchFailed(nil, f, NewError(CodeBatch), []PresenceOf{{Channel: "c", Err: NewError(CodeNoCapability)}})
	},

	"client_attach": func(f Format) []byte {
		return AppendAttach(nil, f, &Attach{Channel: "room", ChannelSerial: "s", Flags: ModeSubscribe, Params: map[string]string{"occupancy": "metrics"}})
	},
	"client_attach_plain": func(f Format) []byte { return AppendAttach(nil, f, &Attach{Channel: "room"}) },
	"client_detach":       func(f Format) []byte { return AppendDetach(nil, f, "room") },
	"client_publish": func(f Format) []byte {
		return AppendPublish(nil, f, "room", 7, map[string]string{"_forceNack": "true"}, goldenDelivery.Messages[:3]...)
	},
	"client_close": func(f Format) []byte { return AppendClose(nil, f) },
	"client_auth":  func(f Format) []byte { return AppendClientAuth(nil, f, "token") },

	"rest_error": func(f Format) []byte { return AppendErrorBody(nil, f, NewError(CodeNotFound)) },
	"rest_time":  func(f Format) []byte { return AppendTime(nil, f, 1612286351217) },
	"rest_published": func(f Format) []byte {
		return AppendPublished(nil, f, "room", "base", "01726585978590-001@series", 2)
	},
	"rest_details": func(f Format) []byte { return AppendChannelDetails(nil, f, "room", true, &goldenCounts) },
	"rest_channels": func(f Format) []byte {
		return AppendChannels(nil, f, []channel.Listed{{App: "demo", Name: "a", Counts: goldenCounts}, {App: "demo", Name: "b"}})
	},
	"rest_names": func(f Format) []byte {
		return AppendChannelNames(nil, f, []channel.Listed{{Name: "a"}, {Name: "b/c"}})
	},
	"rule_batch": func(f Format) []byte {
		list := []Past{{Of: &goldenDelivery}, {Of: &goldenDelivery, Index: 1}}
		return AppendRuleBatch(nil, f, "audit", []RuleItem{
			{"channel.message", "channel.message", goldenDelivery.Serial, 1726585978590, AppendRuleMessages(nil, f, "room", "here", "messages", list)},
			{"channel.message", "channel.gap", "01726585978590-001", 0, AppendRuleGap(nil, f, "room", "01726585978590-001")},
			{"channel.lifecycle", "channel.closed", "7f3a91c2:7", 1726585978590, AppendChannelDetails(nil, f, "room", false, &channel.Counts{})},
		})
	},
	"rule_batch_presence": func(f Format) []byte {
		d := channel.Delivery{Presence: goldenMembers}
		list := []Past{{Of: &d}, {Of: &d, Index: 1}}
		return AppendRuleBatch(nil, f, "audit", []RuleItem{
			{"channel.presence", "presence.message", goldenDelivery.Serial, 1726585978590, AppendRuleMessages(nil, f, "room", "here", "presence", list)},
		})
	},
	"rule_envelope": func(f Format) []byte {
		return AppendRuleEnvelope(nil, f, &RuleEnvelope{
			Source: "channel.message", App: "demo", Channel: "room", Site: "here", Rule: "audit", TimestampMs: 1726585978590, Field: "messages",
			Value: AppendHistory(nil, f, []Past{{Of: &goldenDelivery, Index: 1}}),
		})
	},
	"rest_names_none": func(f Format) []byte { return AppendChannelNames(nil, f, nil) },
}

// golden is the content of a golden file: JSON as it is, msgpack as a hex dump.
func golden(f Format, frame []byte) []byte {
	if f == MsgPack {
		return []byte(hex.Dump(frame))
	}
	return append(bytes.Clone(frame), '\n')
}

func TestGoldenFrames(t *testing.T) {
	for name, frame := range goldenFrames {
		for _, f := range formats {
			path := filepath.Join("testdata", "frames", name+"."+f.String())
			got := golden(f, frame(f))
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s as %s\n got %s\nwant %s", name, f, got, want)
			}
		}
	}
}

// Both formats of a frame have to decode to the same thing, and be well-formed in the eyes of others.
func TestGoldenFramesAgree(t *testing.T) {
	for name, frame := range goldenFrames {
		t.Run(name, func(t *testing.T) {
			asJSON, asMsgpack := frame(JSON), frame(MsgPack)
			if !json.Valid(asJSON) {
				t.Fatalf("not JSON: %s", asJSON)
			}
			checkMsgpack(t, asMsgpack)
			if strings.HasPrefix(name, "rest_") {
				return
			}
			a, b := mustDecode(t, JSON, asJSON), mustDecode(t, MsgPack, asMsgpack)
			if got, want := printFrame(b), printFrame(a); got != want {
				t.Errorf("msgpack and JSON differ\n got %s\nwant %s", got, want)
			}
		})
	}
}

// The keys that clients crash without, looked at in the text itself.
func TestFramesKeepTheRulesThatBreakClients(t *testing.T) {
	for _, c := range []struct{ frame, has, lacks string }{
		{"connected", `"connectionDetails":{`, ``},
		{"connected_failed_resume", `"error":{"message":`, `"clientId"`},
		{"ack", `"msgSerial":0,"count":1,"res":[{"serials":["01726585978590-001@series:000"]}]`, ``},
		{"ack_several", `"count":4`, ``},
		{"ack_several", `{"serials":[null]},{"serials":[]}`, ``},
		{"ack_several", `@series:011"`, ``},
		{"nack", `"msgSerial":7,"count":1,"error":{"message":`, ``},
		{"nack", `"code":40160,"statusCode":401`, ``},
		{"error", `"code":40101`, `"channel"`},
		{"channel_error_noname", `"channel":""`, ``},
		{"heartbeat", `{"action":0}`, `"id"`},
		{"occupancy", `\"presenceMembers\":0`, `channelSerial`},
		{"occupancy_subscribers", `"data":"{\"metrics\":{\"subscribers\":3}}","encoding":"json"`, `connectionId`},
		{"sync_empty", `"presence":[]`, ``},
		{"sync_page", `"channelSerial":"1a:2","presence":[{"id":"conn1:7:0"`, ``},
		{"presence", `"id":"conn1:7","connectionId":"conn1"`, ``},
		{"presence", `"clientId":"bob","data":"AP8=","encoding":"base64"`, ``},
		{"message", `"id":"conn1:7:1"`, ``},
		{"message", `"data":"AAH+/w==","encoding":"base64"`, ``},
		{"message", `"encoding":"utf-8/cipher+aes-128-cbc/base64"`, ``},
		{"message", `"id":"own-id"`, ``},
		{"message", `"data":"","timestamp"`, ``},
		{"message", `"serial":"01726585978590-001@series:005","version":{"serial":"01726585978590-001@series:005","timestamp":1726585978590}`, ``},
		{"message_rest", `"channel":"[?rewind=1]röom\u2028"`, `connectionId`},
		{"rest_names_none", `[]`, ``},
	} {
		got := string(goldenFrames[c.frame](JSON))
		if !strings.Contains(got, c.has) || c.lacks != "" && strings.Contains(got, c.lacks) {
			t.Errorf("%s: want %s in it and no %s\n%s", c.frame, c.has, c.lacks, got)
		}
	}
}
