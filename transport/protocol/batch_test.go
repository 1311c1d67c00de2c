package protocol

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// Channels are kept as often as they are named, over all specs together, up to one more than there may be.
func TestBatchKeepsChannels(t *testing.T) {
	many := slices.Repeat([]string{"dup"}, BatchMentionsMax-2)
	for _, c := range []struct {
		what  string
		specs []map[string]any
		want  []int
	}{
		{"one named often, and others", []map[string]any{{"channels": append(slices.Repeat([]string{"dup"}, 150), "a", "b")}}, []int{152}},
		{"a name alone", []map[string]any{{"channels": "a"}, {"channels": "b"}}, []int{1, 1}},
		{"as many as there may be", []map[string]any{{"channels": many}, {"channels": []string{"a", "b"}}}, []int{BatchMentionsMax - 2, 2}},
		{"more", []map[string]any{{"channels": many}, {"channels": []string{"a", "b", "c", "d"}}, {"channels": "e"}}, []int{BatchMentionsMax - 2, 3, 0}},
	} {
		for _, f := range formats {
			encode := json.Marshal
			if f == MsgPack {
				encode = msgpack.Marshal
			}
			body, err := encode(c.specs)
			if err != nil {
				t.Fatal(err)
			}
			specs, alone, info := DecodeBatch(f, body)
			if info != nil || alone {
				t.Fatalf("%s: %v, alone %v", c.what, info, alone)
			}
			var got []int
			for i := range specs {
				got = append(got, len(specs[i].Channels))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s in %v: %v channels are kept, want %v", c.what, f, got, c.want)
			}
			if names := specs[0].Channels; c.want[0] == 152 && names[151] != "b" {
				t.Errorf("%s: the last is %q", c.what, names[151])
			}
		}
	}
}
