package channel

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sampleMembers() []Member {
	return []Member{
		{Action: Enter, Kind: StringData, ID: "conn:1:0", ClientID: "alice", ConnID: "conn", Encoding: "json", Data: []byte(`{"a":1}`), Extras: []byte(`{"headers":{}}`), TimeMs: 1726585978590},
		{Action: Leave, Kind: BinaryData, ID: "~1726585978590-001", ClientID: "bob", ConnID: "other", Data: []byte{0, 255}, TimeMs: 1},
		{ClientID: "c", ConnID: "conn"},
	}
}

func sampleMessages() []Message {
	return []Message{
		{ID: "conn:1:0", Name: "greeting", ClientID: "alice", Encoding: "json", Kind: StringData, Data: []byte(`{"a":1}`), Extras: []byte(`{"headers":{}}`)},
		{Kind: BinaryData, Data: []byte{0, 1, 2, 255}},
		{Name: "empty"},
	}
}

var toOwnerSamples = map[string]ToOwner{
	"snapshot": &Snapshot{Registers: []Register{
		{App: "demo", Name: "chat:a", Version: 7, Counts: Counts{2, 1, 2, 0, 0, 0, 0, 1}, Watchers: 1, Confirm: true, Serial: "01726585978590-001@abc"},
		{App: "demo", Name: "chat:b", Version: 300, Counts: Counts{1}},
		{App: "other", Name: "", Version: 1 << 60},
	}},
	"history_raw":    &History{App: "demo", Name: "chat:a", Req: 5, After: "01726585978590-001@abc", Raw: true},
	"snapshot_empty": &Snapshot{},
	"register_holds": &Register{App: "demo", Name: "chat:a", Version: 14, Holds: []Hold{
		{ConnID: "conn", Era: 1726585978590, RemainMs: 15000, Taken: 3, Whole: true, Members: sampleMembers()},
		{ConnID: "conn2", State: HoldLost, RemainMs: 1000},
		{ConnID: "conn3", State: HoldOver},
	}},
	"presence_change": &PresenceChange{
		App: "demo", Name: "chat:a", Req: 99, ConnID: "conn", Era: 7, RemainMs: 15000, MsgSerial: 3, ID: "conn:3", Members: sampleMembers(),
	},
	"presence_query":       &PresenceQuery{App: "demo", Name: "chat:a", Req: 5, AfterConn: "conn", After: "alice", Limit: 100, ClientID: "bob", ConnID: "conn"},
	"register":             &Register{App: "demo", Name: "chat:ü", Version: 12, Counts: Counts{300, 0, 1}, Watchers: 2, Confirm: true, Serial: "s"},
	"register_gone":        &Register{App: "demo", Name: "chat:a", Version: 13},
	"publish":              &Publish{App: "demo", Name: "chat:a", Req: 99, ConnID: "conn", MsgSerial: -1, ID: "conn:1", Messages: sampleMessages()},
	"publish_empty":        &Publish{App: "demo", Name: "chat:a"},
	"query":                &Query{App: "demo", Name: "chat:a", Req: 3},
	"history":              &History{App: "demo", Name: "chat:a", Req: 5, After: "01726585978590-001@abc", Until: "01726585978590-009@abc", StartMs: 1, EndMs: 1726585978590, Limit: 100, Backwards: true, Of: OnlyPresence},
	"list":                 &List{Req: 4, App: "demo", After: Position{Hash: 1 << 63, App: "demo", Name: "x"}, Prefix: "chat:", Limit: 100},
	"lookup":               &Lookup{App: "demo", Name: "chat:a", Req: 6, What: LookupAnnotations, Serial: "01726585978590-001@abc:000", After: 100, Limit: 50},
	"publish_kept_nowhere": &Publish{App: "demo", Name: "chat:a", Req: 99, ConnID: "conn", MsgSerial: 3, ID: "conn:3", Messages: sampleMessages(), Ephemeral: true},
	"publish_change": &Publish{App: "demo", Name: "chat:a", Req: 99, ConnID: "conn", MsgSerial: 4, ID: "conn:4", OwnOnly: true, MaxBytes: 65536, Messages: []Message{
		{Kind: StringData, Data: []byte("new"), Edit: &Edit{Action: MessageUpdate, Serial: "01726585978590-001@abc:000", By: "alice", Description: "typo", Metadata: []byte(`{"a":"b"}`)}},
	}},
	"publish_annotations": &Publish{App: "demo", Name: "chat:a", Req: 99, ID: "rest", Messages: []Message{
		{Name: "👍", ClientID: "alice", Edit: &Edit{Action: Annotate, Serial: "01726585978590-001@abc:000", Type: "reaction:multiple.v1", Count: 3}},
		{Name: "👍", ClientID: "alice", Edit: &Edit{Action: Unannotate, Serial: "01726585978590-001@abc:001", Type: "reaction:flag.v1"}},
	}},
}

var toGatewaySamples = map[string]ToGateway{
	"registered": &Registered{App: "demo", Name: "chat:a", Version: 12, Serial: "01726585978590-001@abc", Counts: Counts{3, 2, 1}, Lost: true},
	"delivery":   &Delivery{App: "demo", Name: "chat:a", Serial: "01726585978590-002@abc", Prev: "01726585978590-001", ID: "conn:1", ConnID: "conn", TimeMs: 1726585978590, Messages: sampleMessages()},
	"delivery_append": &Delivery{App: "demo", Name: "chat:a", Serial: "01726585978590-003@abc", Prev: "01726585978590-002", ID: "conn:2", ConnID: "conn", TimeMs: 1726585978590, Messages: []Message{
		{Name: "greeting", ClientID: "alice", Kind: StringData, Data: []byte("!"), Edit: &Edit{
			Action: MessageAppend, Serial: "01726585978590-001@abc:000", CreatedMs: 1726585978590, Version: "01726585978590-003@abc:000", VersionMs: 1726585978590,
			Whole: &Message{ID: "conn:2:0", Name: "greeting", ClientID: "alice", Kind: StringData, Data: []byte("hello!"), Extras: []byte("{}")},
		}},
	}},
	"delivery_annotation": &Delivery{App: "demo", Name: "chat:a", Serial: "01726585978590-003@abc", ID: "conn:2", ConnID: "conn", TimeMs: 1726585978590, Messages: []Message{
		{Name: "👍", ClientID: "alice", Edit: &Edit{
			Action: Annotate, Serial: "01726585978590-001@abc:000", CreatedMs: 1726585978590, Version: "01726585978590-003@abc:000", VersionMs: 1726585978590,
			Type: "reaction:distinct.v1", Summary: []byte(`{"reaction:distinct.v1":{"👍":{"total":1,"clientIds":["alice"],"clipped":false}}}`),
		}},
	}},
	"delivery_presence": &Delivery{
		App: "demo", Name: "chat:a", Serial: "01726585978590-002@abc", Prev: "01726585978590-001", ID: "conn:1", ConnID: "conn", TimeMs: 1726585978590, Presence: sampleMembers(),
	},
	"presence_held": &PresenceHeld{App: "demo", Name: "chat:a", ConnID: "conn", Era: 7, Taken: 3, Members: sampleMembers()},
	"presence_page": &PresencePage{Req: 5, More: true, Members: sampleMembers()},
	"occupancy":     &Occupancy{App: "demo", Name: "chat:a", Counts: Counts{1, 1, 1, 1, 1, 1, 1, 1}},
	"published":     &Published{Req: 99, Serial: "01726585978590-002@abc"},
	"refused":       &Published{Req: 99, Refusal: Busy},
	"query_result":  &QueryResult{Req: 3, Active: true, Counts: Counts{1}},
	"list_result": &ListResult{Req: 4, More: true, Channels: []Listed{
		{App: "demo", Name: "chat:a", Counts: Counts{1}}, {App: "demo", Name: "chat:b"},
	}},
	"history_result": &HistoryResult{Req: 5, Serial: "01726585978590-002@abc", Complete: true, More: true, Deliveries: []*Delivery{
		{App: "demo", Name: "chat:a", Serial: "01726585978590-002@abc", Prev: "01726585978590-001", ID: "conn:1", ConnID: "conn", TimeMs: 1726585978590, Messages: sampleMessages()},
		{App: "demo", Name: "chat:a", Serial: "01726585978590-003@abc"},
		{App: "demo", Name: "chat:a", Serial: "01726585978590-004@abc", Presence: sampleMembers()},
	}},
	"channel_refused": &Refused{App: "demo", Name: "chat:a", Version: 300, Why: TooManyChannels},
	"list_refused":    &ListResult{Req: 4, Refusal: NotOwner},
}

var toHostSamples = map[string]ToHost{
	"past_ask":  &PastAsk{Stream: 300, Layout: 9},
	"past_have": &PastHave{Stream: 300, Served: true, Copies: []PastCopy{{Part: 5, Of: 1<<64 - 1, Complete: true}, {Part: 300, Of: 7}}},
	"past_take": &PastTake{
		Stream: 300, Layout: 9, Part: 5, Page: 2,
		After: PastPlace{Position{Hash: 1 << 63, App: "app", Name: "chän"}, "01700000000000-001@s"},
	},
	"past_page": &PastPage{
		Stream: 300, Part: 5, Page: 2, Since: "01700000000000-000", Floor: "01700000000000-009", More: true,
		Next: PastPlace{Position{Hash: 1, App: "app", Name: "other"}, ""},
		Channels: []PastChannel{
			{App: "app", Name: "room", Since: "01700000000000-000", Told: "01700000000000-001", Deliveries: []*Delivery{
				{App: "app", Name: "room", Serial: "01700000000000-001@s", Prev: "01700000000000-000", ID: "id", ConnID: "conn", TimeMs: 1_700_000_000_000,
					Messages: []Message{{Name: "n", Kind: BinaryData, Data: []byte{1, 2}}}},
			}},
			{App: "app", Name: "empty"},
		},
	},
	"copy_begin": &CopyBegin{Stream: 7, Since: "01726585978590-001", Floor: "01726585978599-000"},
	"copy_part": &CopyPart{Stream: 7, App: "demo", Name: "chat:a", Since: "01726585978590-001", Old: true, Deliveries: []*Delivery{
		{App: "demo", Name: "chat:a", Serial: "01726585978590-002@abc", Prev: "01726585978590-001", ID: "conn:1", ConnID: "conn", TimeMs: 1726585978590, Messages: sampleMessages()},
	}},
	"copy_whole":  &CopyWhole{Stream: 7},
	"copy_behind": &CopyBehind{Stream: 1 << 33},
	"copy_known":  &CopyKnown{Stream: 1 << 33},
	"copy_end":    &CopyEnd{Stream: 7, Complete: true, Parts: 3},
	"copied":      &Copied{Stream: 7, App: "demo", Name: "chat:a", Serial: "01726585978590-002@abc", Old: true},
	"copy_fetch":  &CopyFetch{Stream: 1 << 40, Take: true, Back: 2},
	"copy_have":   &CopyHave{Stream: 9, Of: 1<<64 - 1, Complete: true, Sent: 300, Parts: 5, Hollow: 3, Over: true, Behind: 1 << 33},
	"tap_told":    &TapTold{Stream: 7, App: "demo", Name: "chat:a", Serial: "01726585978590-002"},
	"left": &Left{Stream: 9, Channels: []*Remains{
		{App: "demo", Name: "chat:a", VacateMs: 4999, UsedMs: -1},
		{App: "demo", Name: "chat:ü", VacateMs: -1, UsedMs: 59999, More: []Section{{Kind: 7, Data: []byte{0, 255}}, {Kind: 8, Data: []byte{}}}},
	}},
}

// The golden files hold what is on the wire, as hex. They change only with a new type byte.
func TestGoldenFrames(t *testing.T) {
	for name, m := range toOwnerSamples {
		golden(t, "to_owner_"+name, AppendToOwner(nil, m), func(frame []byte) (any, error) { return DecodeToOwner(frame) }, m)
	}
	for name, m := range toHostSamples {
		golden(t, "to_host_"+name, AppendToHost(nil, m), func(frame []byte) (any, error) { return DecodeToHost(frame) }, m)
	}
	for name, m := range toGatewaySamples {
		golden(t, "to_gateway_"+name, AppendToGateway(nil, m), func(frame []byte) (any, error) { return DecodeToGateway(frame) }, m)
	}
}

func golden(t *testing.T, name string, frame []byte, decode func([]byte) (any, error), want any) {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	if *update {
		var text strings.Builder
		for line := range slices.Chunk(frame, 32) {
			fmt.Fprintf(&text, "%x\n", line)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(frame, stored) {
		t.Errorf("%s is written as\n%x\nthe golden file has\n%x", name, frame, stored)
	}
	got, err := decode(stored)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	} else if !reflect.DeepEqual(got, want) {
		t.Errorf("%s reads as\n%+v\nwant\n%+v", name, got, want)
	}
	for cut := range stored {
		if _, err := decode(stored[:cut]); !errors.Is(err, ErrFrame) {
			t.Errorf("%s cut to %d bytes: %v", name, cut, err)
		}
	}
	if _, err := decode(append(bytes.Clone(stored), 0)); !errors.Is(err, ErrFrame) {
		t.Errorf("%s with a byte too many: %v", name, err)
	}
}

func TestDecodedKeepsNothingOfTheFrame(t *testing.T) {
	for name, m := range toOwnerSamples {
		frame := AppendToOwner(nil, m)
		got, _ := DecodeToOwner(frame)
		for i := range frame {
			frame[i] = 0xee
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%s changed with its frame", name)
		}
	}
	frame := AppendToGateway(nil, toGatewaySamples["delivery"])
	got, _ := DecodeToGateway(frame)
	for i := range frame {
		frame[i] = 0xee
	}
	if !reflect.DeepEqual(got, toGatewaySamples["delivery"]) {
		t.Error("delivery changed with its frame")
	}
}

func TestDecodersRefuse(t *testing.T) {
	long := strings.Repeat("x", TextMax+1)
	uvarint := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}
	for name, frame := range map[string][]byte{
		"nothing":                     {},
		"unknown type":                {0xff},
		"a name too long":             AppendToOwner(nil, &Query{App: "a", Name: long}),
		"a number too long":           append([]byte{frameQuery}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02),
		"more registers than bytes":   append([]byte{frameSnapshot}, uvarint...),
		"more messages than bytes":    {framePublish, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x7f},
		"more payload than bytes":     {framePublish, 0xff, 0x7f, 0, 0},
		"a count beyond 31 bits":      {frameRegister, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0},
		"a flag that is none":         {frameRegister, 0, 0, 0, 0, 0, 2, 0},
		"a kind of data that is none": {framePublish, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0},
	} {
		if m, err := DecodeToOwner(frame); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: read as %+v, %v", name, m, err)
		}
	}
	if _, err := DecodeToGateway(append([]byte{frameListResult, 0}, uvarint...)); !errors.Is(err, ErrFrame) {
		t.Errorf("more channels than bytes: %v", err)
	}
	if m, err := DecodeToGateway(AppendToOwner(nil, &Query{})); !errors.Is(err, ErrFrame) {
		t.Errorf("a frame of the other direction: %+v", m)
	}
}

func TestNegativeNumbersDoNotTravel(t *testing.T) {
	got, err := DecodeToOwner(AppendToOwner(nil, &Register{App: "a", Counts: Counts{-1, 2}, Watchers: -5}))
	if err != nil {
		t.Fatal(err)
	}
	if r := got.(*Register); r.Counts != (Counts{0, 2}) || r.Watchers != 0 {
		t.Fatalf("%+v", r)
	}
}

// Whatever decodes must be written and read again as the same.
func FuzzDecodeToOwner(f *testing.F) {
	for _, m := range toOwnerSamples {
		f.Add(AppendToOwner(nil, m))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := DecodeToOwner(frame)
		if err != nil {
			if !errors.Is(err, ErrFrame) || m != nil {
				t.Fatalf("%v with %v", err, m)
			}
			return
		}
		again, err := DecodeToOwner(AppendToOwner(nil, m))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("read %+v, then %+v, %v", m, again, err)
		}
	})
}

func FuzzDecodeToGateway(f *testing.F) {
	for _, m := range toGatewaySamples {
		f.Add(AppendToGateway(nil, m))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := DecodeToGateway(frame)
		if err != nil {
			if !errors.Is(err, ErrFrame) || m != nil {
				t.Fatalf("%v with %v", err, m)
			}
			return
		}
		again, err := DecodeToGateway(AppendToGateway(nil, m))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("read %+v, then %+v, %v", m, again, err)
		}
	})
}

func FuzzDecodeToHost(f *testing.F) {
	for _, m := range toHostSamples {
		f.Add(AppendToHost(nil, m))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := DecodeToHost(frame)
		if err != nil {
			if !errors.Is(err, ErrFrame) || m != nil {
				t.Fatalf("%v with %v", err, m)
			}
			return
		}
		again, err := DecodeToHost(AppendToHost(nil, m))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("read %+v, then %+v, %v", m, again, err)
		}
	})
}
