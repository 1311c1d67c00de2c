package transport

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

func TestParseRewind(t *testing.T) {
	for text, want := range map[string]rewind{
		"1 ":      {messages: 1},
		"100 ":    {messages: 100},
		"101 ":    {messages: 100, bounded: true},
		"10 3":    {messages: 10}, // the limit is for times
		"5s ":     {messages: 100, time: 5 * time.Second, bounded: true},
		"2m 7":    {messages: 7, time: 2 * time.Minute},
		"2m 100":  {messages: 100, time: 2 * time.Minute},
		"2m 101":  {messages: 100, time: 2 * time.Minute, bounded: true},
		"9999m 1": {messages: 1, time: 24 * time.Hour},
	} {
		params := map[string]string{}
		var limit string
		fmt.Sscan(text, new(string), &limit)
		if params["rewind"] = text[:slices.Index([]byte(text), ' ')]; limit != "" {
			params["rewindLimit"] = limit
		}
		if r, err := parseRewind(params); err != nil || r == nil || *r != want {
			t.Errorf("%q is %+v, error %v; want %+v", text, r, err, want)
		}
	}
	for _, nothing := range []map[string]string{nil, {"rewind": "0"}, {"rewind": "0s"}, {"rewind": "1m", "rewindLimit": "0"}, {"rewindLimit": "3"}} {
		if r, err := parseRewind(nothing); r != nil || err != nil {
			t.Errorf("%v is %+v, error %v; want nothing", nothing, r, err)
		}
	}
}

// Whatever sizes publishes have, the last messages are given, as many as wanted and each as it was published.
func TestRewindTakesTheLastMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 40), 0, 12).Draw(t, "sizes")
		want := rapid.IntRange(1, rewindMax).Draw(t, "messages")
		r := &rewind{messages: want, bounded: rapid.Bool().Draw(t, "bounded")}
		reach := rapid.IntRange(0, len(sizes)).Draw(t, "kept in the answer") // the rest had no room
		var all []string                                                     // what each message says of itself
		answer := &channel.HistoryResult{}
		given, count := 0, 0
		for i, size := range sizes {
			d := &channel.Delivery{Serial: fmt.Sprintf("%014d-000@x", i), ID: "id" + strconv.Itoa(i), TimeMs: int64(i)}
			for j := range size {
				m := channel.Message{Name: strconv.Itoa(count)}
				switch rapid.IntRange(0, 5).Draw(t, "kind") {
				case 0:
					m.ID = "own" + strconv.Itoa(count)
				case 1:
					m.Edit = &channel.Edit{Action: channel.MessageUpdate, Serial: protocol.MessageSerial(d.Serial, j), Version: "v"}
				}
				d.Messages = append(d.Messages, m)
				count++
			}
			for j := range d.Messages {
				all = append(all, entity(d, j))
			}
			answer.Deliveries = append(answer.Deliveries, d)
		}
		slices.Reverse(answer.Deliveries)
		if reach < len(sizes) {
			answer.Deliveries, answer.More = answer.Deliveries[:reach], true
		}
		there := 0
		for _, d := range answer.Deliveries {
			there += len(d.Messages)
		}
		list, n, short := r.take(answer)
		var got []string
		for _, d := range list {
			given += len(d.Messages)
			for j := range d.Messages {
				got = append(got, entity(d, j))
			}
		}
		if given != min(want, there) || n != given || !slices.Equal(got, all[len(all)-given:]) {
			t.Fatalf("%d of %v messages with %d in the answer: %d are given, %d said, %v", want, sizes, there, given, n, got)
		}
		if is := given < len(all) && (r.bounded || given < want); short != is {
			t.Fatalf("%d of %d messages are given: short is %v", given, len(all), short)
		}
	})
}

// entity is the frame of one message alone, which has its id, its serial and its version.
func entity(d *channel.Delivery, i int) string {
	return string(protocol.AppendHistory(nil, protocol.JSON, []protocol.Past{{Of: d, Index: i}}))
}
