package node

import (
	"testing"
	"time"

	"innkeeper/cluster"
	"innkeeper/transport"
	"innkeeper/transport/auth"
)

func TestBootsThatAreOver(t *testing.T) {
	f := newFellows(&boot{})
	f.began = time.Now().Add(-time.Hour)
	peer := func(boot string) cluster.Peer { return cluster.Peer{Node: "n-" + boot, Boot: boot} }
	ago := func(boot string) time.Duration {
		w, err := f.Release(t.Context(), auth.BootTag(boot), "x")
		if err != nil || w.Fate != transport.Dropped {
			t.Errorf("%s: %+v, %v", boot, w, err)
		}
		return w.Ago
	}
	f.members([]cluster.Peer{peer("a"), peer("b")})
	f.members([]cluster.Peer{peer("b")})
	if d := ago("a"); d > time.Minute {
		t.Errorf("a boot that left just now is over for %v", d)
	}
	if d := ago("never seen"); d < time.Hour {
		t.Errorf("a boot that nobody has seen is over for %v", d)
	}
	for i := range formerMax + 10 {
		f.members([]cluster.Peer{peer(string(rune('a'+i%26)) + time.Duration(i).String())})
	}
	if len(f.former) != formerMax {
		t.Errorf("%d former boots are kept", len(f.former))
	}
	if d := ago("a"); d < time.Hour {
		t.Errorf("the oldest was not forgotten first: %v", d)
	}
}

func FuzzWhereabouts(f *testing.F) {
	f.Add(appendWhereabouts(nil, transport.Whereabouts{Fate: transport.Moved, Boot: 7}))
	f.Add(appendWhereabouts(nil, transport.Whereabouts{Fate: transport.Dropped, Ago: time.Minute}))
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := readWhereabouts(b)
		if err == nil && string(appendWhereabouts(nil, w)) != string(b) {
			t.Errorf("%x reads as %+v", b, w)
		}
	})
}
