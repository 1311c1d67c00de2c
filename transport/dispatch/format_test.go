package dispatch

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSuffix(want, []byte("\n")), got) {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
}

func TestBodies(t *testing.T) {
	events := []Event{
		{Seq: 123, ID: "7f3a91c2-123", App: "demo", Channel: "chat:a", Kind: Occupied, TimeMs: 1697206286533},
		{Seq: 139, ID: "7f3a91c2-139", App: "demo", Channel: `chat:<b> & "c" €`, Kind: Occupied, TimeMs: 1697206286990},
		{Seq: 140, ID: "7f3a91c2-140", App: "demo", Channel: "chat:a", Kind: Vacated, TimeMs: 1697206291534, Ends: 123},
	}
	for _, format := range []Format{Innkeeper, Centrifugo} {
		golden(t, string(format)+".json", body(&Rule{ID: "state", App: "demo", Format: format}, events))
	}
}

// Whatever the names are, a reader gets them back (bytes that are no UTF-8 as U+FFFD).
func TestBodiesRoundTrip(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		r := Rule{ID: text.Draw(t, "rule"), App: text.Draw(t, "app")}
		var events []Event
		for range rapid.IntRange(0, 3).Draw(t, "events") {
			e := Event{
				Seq: rapid.Uint64().Draw(t, "seq"), ID: text.Draw(t, "id"), App: r.App, Channel: text.Draw(t, "channel"),
				Kind: Kind(rapid.IntRange(1, 2).Draw(t, "kind")), TimeMs: rapid.Int64().Draw(t, "time"),
			}
			if e.Kind == Vacated {
				e.Ends = rapid.Uint64().Draw(t, "ends")
			}
			events = append(events, e)
		}
		for _, r.Format = range []Format{Innkeeper, Centrifugo} {
			var got struct {
				App, Rule string
				Events    []struct {
					ID, App, Channel, Type string
					Seq, Ends              uint64
					TimeMs                 int64 `json:"time_ms"`
				}
			}
			if err := json.Unmarshal(body(&r, events), &got); err != nil {
				t.Fatal(err)
			}
			if len(got.Events) != len(events) {
				t.Fatalf("got %d events of %d", len(got.Events), len(events))
			}
			for i, g := range got.Events {
				w := events[i]
				if g.Channel != valid(w.Channel) || g.Type != w.Kind.String() || g.TimeMs != w.TimeMs {
					t.Fatalf("%s: got %+v, want %+v", r.Format, g, w)
				}
				if r.Format == Innkeeper && (g.ID != valid(w.ID) || g.App != valid(w.App) || g.Seq != w.Seq || g.Ends != w.Ends) {
					t.Fatalf("got %+v, want %+v", g, w)
				}
			}
			if r.Format == Innkeeper && (got.App != valid(r.App) || got.Rule != valid(r.ID)) {
				t.Fatalf("got app %q, rule %q", got.App, got.Rule)
			}
		}
	})
}

// valid is s with each byte that is no UTF-8 replaced.
func valid(s string) string { return string([]rune(s)) }
