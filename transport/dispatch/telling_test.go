package dispatch

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"innkeeper/channel"
)

func TestFill(t *testing.T) {
	items := func(counts ...int) (list []tapItem) {
		for _, n := range counts {
			it := tapItem{Item: Item{Count: n}}
			it.Data = make([]byte, 100*n)
			list = append(list, it)
		}
		return list
	}
	for _, c := range []struct {
		items         []tapItem
		events, bytes int
		n             int
		full          bool
	}{
		{nil, 10, 1e6, 0, false},
		{items(1, 1, 1), 10, 1e6, 3, false},
		{items(1, 1, 1), 3, 1e6, 3, true},
		{items(1, 1, 1, 1), 3, 1e6, 3, true},
		{items(2, 2), 3, 1e6, 1, true},   // a publish is not cut
		{items(500, 1), 3, 1e6, 1, true}, // nor the one that is too large
		{items(1, 1, 1), 10, 2*itemBytes + 200, 2, true},
		{items(1, 1, 1), 10, 2*itemBytes + 199, 1, true},
		{items(9, 1), 10, 10, 1, true},
		{items(0, 0, 0), 2, 1e6, 2, true}, // each is one event at least
	} {
		if n, full := fill(c.items, c.events, c.bytes); n != c.n || full != c.full {
			t.Errorf("%d items, %d events, %d bytes: %d %v, want %d %v", len(c.items), c.events, c.bytes, n, full, c.n, c.full)
		}
	}
}

// A plan is what is published, how requests are bounded and which of them are refused.
type plan struct {
	batch    int
	single   bool
	publish  []int // by publish: its messages
	channels []int // by publish: its channel
	long     []bool
	refuse   []bool // by request
}

// TestEachIsToldOnceWhateverIsRefused publishes at random and refuses requests at random: all is told in order and once, no
// request has more than it may, and what a channel was told is known as soon as it was accepted.
func TestEachIsToldOnceWhateverIsRefused(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := plan{batch: rapid.IntRange(1, 6).Draw(rt, "batch"), single: rapid.Bool().Draw(rt, "single")}
		p.publish = rapid.SliceOfN(rapid.IntRange(1, 8), 1, 30).Draw(rt, "publishes")
		for range p.publish {
			p.channels = append(p.channels, rapid.IntRange(0, 2).Draw(rt, "channel"))
			p.long = append(p.long, rapid.IntRange(0, 9).Draw(rt, "long") == 0)
		}
		p.refuse = rapid.SliceOfN(rapid.Bool(), 0, 30).Draw(rt, "refused")
		var failed string
		synctest.Test(t, func(t *testing.T) { failed = p.play(t) })
		if failed != "" {
			rt.Fatal(failed)
		}
	})
}

func (p *plan) play(t *testing.T) string {
	r := tapRule("all", SourceChannelMessage)
	r.Batch, r.Ably.Single, r.Lanes = p.batch, p.single, 1
	w := newTapWorld(t, r)
	defer w.taps.Close()
	w.page = 100
	requests := 0
	w.answer = func() bool {
		requests++
		return requests > len(p.refuse) || !p.refuse[requests-1]
	}
	want := map[string][]string{}
	for i, n := range p.publish {
		var texts []string
		for j := range n {
			text := fmt.Sprintf("%d.%d", i, j)
			if p.long[i] {
				text += strings.Repeat("x", 110_000)
			}
			texts = append(texts, text)
		}
		name := fmt.Sprint("room", p.channels[i])
		w.publish(name, texts...)
		want[name] = append(want[name], texts...)
	}
	rest(time.Hour)
	got := map[string][]string{}
	for _, r := range w.requests {
		var b struct {
			Items []struct {
				Data struct {
					ChannelID string
					Messages  []struct{ Data string }
				}
			}
			Channel  string
			Messages []struct{ Data string }
		}
		if err := json.Unmarshal([]byte(r.body), &b); err != nil {
			return err.Error()
		}
		events := len(b.Messages)
		for _, m := range b.Messages {
			got[b.Channel] = append(got[b.Channel], m.Data)
		}
		for _, it := range b.Items {
			events += len(it.Data.Messages)
			for _, m := range it.Data.Messages {
				got[it.Data.ChannelID] = append(got[it.Data.ChannelID], m.Data)
			}
		}
		if len(b.Items) > 1 && (events > p.batch || len(r.body) > batchBytes) || p.single && events != 1 {
			return fmt.Sprintf("a request has %d items of %d messages, %d bytes; the batch is %d", len(b.Items), events, len(r.body), p.batch)
		}
	}
	for name, texts := range want {
		if p.single { // all of a publish is told again when one of its messages was refused
			got[name] = slices.Compact(slices.Sorted(slices.Values(got[name])))
			slices.Sort(texts)
		}
		if !slices.Equal(got[name], texts) {
			return fmt.Sprintf("%s was told %.200q, want %.200q", name, got[name], texts)
		}
		list := w.kept[name]
		if last := channel.SerialPosition(list[len(list)-1].Serial); w.told[name] != last {
			return fmt.Sprintf("%s was told up to %s, want %s", name, w.told[name], last)
		}
	}
	return ""
}

// TestPositionFollowsEachRequest refuses all requests but the first of a turn: the owner knows what that one told.
func TestPositionFollowsEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := tapRule("all", SourceChannelMessage)
		r.Batch = 2
		w := newTapWorld(t, r)
		defer w.taps.Close()
		w.page = 100
		requests, well := 0, false
		w.answer = func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			if requests++; requests == 2 && w.told["room"] != "01726585978590-002" {
				t.Errorf("told up to %q when the second request comes", w.told["room"])
			}
			return requests == 1 || well
		}
		for _, text := range []string{"a", "b", "c", "d", "e"} {
			w.publish("room", text)
		}
		rest(50 * time.Millisecond)
		got := fmt.Sprint(w.texts("/all"))
		w.mu.Lock()
		if well = true; got != "[a b]" || requests != 2 {
			t.Errorf("told %v in %d requests", got, requests)
		}
		w.mu.Unlock()
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/all")); got != "[a b c d e]" {
			t.Errorf("told %v", got)
		}
	})
}

// TestTenureEndsAmidATurn has the channel move while some of its requests were made: the next owner makes the others.
func TestTenureEndsAmidATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := tapRule("all", SourceChannelMessage)
		r.Batch = 1
		w := newTapWorld(t, r)
		defer w.taps.Close()
		w.page = 100
		w.answer = func() bool {
			w.taps.Over(0, 1)
			return true
		}
		w.publish("room", "a")
		w.publish("room", "b")
		rest(time.Hour)
		if got := fmt.Sprint(w.texts("/all")); got != "[a]" {
			t.Errorf("told %v", got)
		}
	})
}

// TestSlowTargetsTurnsAreShort has a target that takes its time: what is left of a turn is read again before it is sent.
func TestSlowTargetsTurnsAreShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := tapRule("all", SourceChannelMessage)
		r.Batch = 1
		w := newTapWorld(t, r)
		defer w.taps.Close()
		w.page = 100
		w.answer = func() bool {
			time.Sleep(700 * time.Millisecond)
			return true
		}
		for _, text := range []string{"a", "b", "c", "d", "e"} {
			w.publish("room", text)
		}
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/all")); got != "[a b c d e]" || w.reads != 3 {
			t.Errorf("told %v, read %d times", got, w.reads)
		}
	})
}
