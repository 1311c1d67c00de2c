package auth

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func connectionKeys() *Keys {
	return NewKeys([]Key{{App: "a", ID: "one", Secret: "s1"}, {App: "a", ID: "two", Secret: "s2"}, {App: "b", ID: "one", Secret: "s3"}})
}

func TestConnectionKeys(t *testing.T) {
	k := connectionKeys()
	now := time.UnixMilli(1_800_000_000_123)
	for _, client := range []string{"", Wildcard, "alice", "ä😀", strings.Repeat("x", 1024)} {
		want := ConnectionKey{ID: NewConnectionID(), Boot: BootTag("boot"), MadeMs: now.UnixMilli(), ClientID: client}
		text := want.Text(k, "a.one", now)
		got, err := k.ReadConnectionKey("a", "a.one", text)
		if err != nil || *got != want {
			t.Errorf("%q: read %+v, %v; want %+v", client, got, err, want)
		}
		if got, err := k.ReadConnectionKey("a", "a.two", text); err != nil || *got != want {
			t.Errorf("%q: with another key of the app: %+v, %v", client, got, err)
		}
		if _, err := k.ReadConnectionKey("b", "b.one", text); err == nil || err.Code != 80011 {
			t.Errorf("%q: of another app: %v", client, err)
		}
		if _, err := k.ReadConnectionKey("b", "a.one", text); err == nil || err.Code != 80011 {
			t.Errorf("%q: of another app, with the key that proves it: %v", client, err)
		}
		without := NewKeys([]Key{{App: "a", ID: "two", Secret: "s2"}})
		if _, err := without.ReadConnectionKey("a", "a.two", text); err == nil || err.Code != 80008 {
			t.Errorf("%q: the key that proves it is gone: %v", client, err)
		}
		if got, err := k.ReadConnectionKeyOf("a", text); err != nil || *got != want {
			t.Errorf("%q: of the app: %+v, %v", client, got, err)
		}
		if _, err := k.ReadConnectionKeyOf("b", text); err == nil || err.Code != 40006 {
			t.Errorf("%q: of another app: %v", client, err)
		}
	}
}

// Whatever is changed in a key makes it another's.
func TestConnectionKeyIsProvenAsAWhole(t *testing.T) {
	k := connectionKeys()
	c := ConnectionKey{ID: NewConnectionID(), Boot: 7, ClientID: "alice"}
	id, rest, _ := strings.Cut(c.Text(k, "a.one", time.UnixMilli(5)), "!")
	b, _ := base64.RawURLEncoding.DecodeString(rest)
	for i := range b {
		b[i] ^= 1
		if _, err := k.ReadConnectionKey("a", "a.one", id+"!"+base64.RawURLEncoding.EncodeToString(b)); err == nil {
			t.Errorf("a change at byte %d passes", i)
		}
		b[i] ^= 1
	}
	if _, err := k.ReadConnectionKey("a", "a.one", NewConnectionID()+"!"+rest); err == nil {
		t.Error("another id passes")
	}
}

func FuzzConnectionKey(f *testing.F) {
	k := connectionKeys()
	c := ConnectionKey{ID: NewConnectionID(), Boot: 7, ClientID: "alice"}
	f.Add(c.Text(k, "a.one", time.UnixMilli(5)))
	f.Add("_____!ablyjs_test_fake-key____")
	f.Add("ablygo_test_fake-key____")
	f.Add("AAAAAAAAAAAA!")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := k.ReadConnectionKey("a", "a.one", text)
		if err != nil {
			if err.Code != 80018 && err.Code != 80008 && err.Code != 80011 {
				t.Errorf("%v", err)
			}
			return
		}
		if again := got.Text(k, "a.one", time.UnixMilli(got.MadeMs)); again != text {
			t.Errorf("%q is written as %q", text, again)
		}
	})
}
