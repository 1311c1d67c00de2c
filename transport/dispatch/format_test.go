package dispatch

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
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
		got, err := body(&Rule{ID: "state", App: "demo", Format: format}, events)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, string(format)+".json", got)
	}
}
