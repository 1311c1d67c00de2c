package cluster

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// frameBytes lays a frame out as a link does.
func frameBytes(f frame) []byte {
	return append(appendFrameHeader(nil, f.typ, f.kind, len(f.payload)), f.payload...)
}

var (
	goldenHello   = hello{version: 1, clusterID: "c0ffee", from: Peer{"n1", "b1"}, addr: "10.0.0.1:7901", want: "n2"}
	goldenRenewal = renewal{
		member:   Member{Node: "n1", Boot: "b2", State: Alive, Cluster: "10.0.0.1:7901", Gossip: "10.0.0.1:7911", Client: "10.0.0.1:8081", Admin: "10.0.0.1:8091"},
		replaces: "b1", version: 300, gone: []Peer{{"n2", "b3"}, {"n3", "b4"}}, recovering: true, coldMs: 1700000000000,
	}
	goldenAnswers = []answer{
		{verdict: verdictGranted, ttl: 4 * time.Second, recovering: true, coldMs: 1700000000000},
		{verdict: verdictWait},
		{verdict: verdictNotLeader, node: "n2", addr: "10.0.0.2:7901"},
		{verdict: verdictDead},
		{verdict: verdictChallenge, boot: "b1"},
	}
	goldenMeta     = meta{version: 1, cluster: "c0ffee", hasState: true, expect: 3, addr: "10.0.0.1:7901", client: "10.0.0.1:8081", admin: "10.0.0.1:8091"}
	goldenProposal = proposal{nodes: []Server{{ID: "n1", Addr: "10.0.0.1:7901"}, {ID: "n2", Addr: "10.0.0.2:7901"}}}
	goldenFrames   = []frame{
		{typ: framePing},
		{typ: frameMessage, kind: 7, payload: []byte("hello")},
		{typ: frameRequest, kind: kindRenew, payload: append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0xa0, 0x0f, 0, 0}, "ask"...)},
		{typ: frameResponse, kind: statusOK, payload: append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, "yes"...)},
	}
)

// Nodes of one protocol version understand each other whatever they were built from: these bytes hold.
func TestWireIsGolden(t *testing.T) {
	var b strings.Builder
	line := func(what string, raw []byte) { fmt.Fprintf(&b, "%s %s\n", what, hex.EncodeToString(raw)) }
	var h bytes.Buffer
	writeHello(&h, refusedCluster, goldenHello)
	line("hello", h.Bytes())
	line("renewal", appendRenewal(nil, goldenRenewal))
	for _, a := range goldenAnswers {
		line(fmt.Sprintf("answer-%d", a.verdict), appendAnswer(nil, a))
	}
	line("meta", appendMeta(nil, goldenMeta))
	line("proposal", appendProposal(nil, goldenProposal))
	for _, f := range goldenFrames {
		line(fmt.Sprintf("frame-%d", f.typ), frameBytes(f))
	}
	const golden = "testdata/wire.txt"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the wire changed; that needs another protocolVersion:\n%s", b.String())
	}
}

func TestWireComesBack(t *testing.T) {
	var buf bytes.Buffer
	writeHello(&buf, refusedNode, goldenHello)
	buf.WriteString("more")
	if r, h, err := readHello(&buf); err != nil || r != refusedNode || h != goldenHello || buf.String() != "more" {
		t.Errorf("hello: %v %+v %v, left %q", r, h, err, buf.String())
	}
	if r, err := decodeRenewal(appendRenewal(nil, goldenRenewal)); err != nil || !reflect.DeepEqual(r, goldenRenewal) {
		t.Errorf("renewal: %+v %v", r, err)
	}
	for _, a := range goldenAnswers {
		if got, err := decodeAnswer(appendAnswer(nil, a)); err != nil || got != a {
			t.Errorf("answer: %+v %v, want %+v", got, err, a)
		}
	}
	if m, err := decodeMeta(appendMeta(nil, goldenMeta)); err != nil || m != goldenMeta {
		t.Errorf("meta: %+v %v", m, err)
	}
	if p, err := decodeProposal(appendProposal(nil, goldenProposal)); err != nil || !p.equal(goldenProposal) {
		t.Errorf("proposal: %+v %v", p, err)
	}
	var stream []byte
	for _, f := range goldenFrames {
		stream = append(stream, frameBytes(f)...)
	}
	br := bufio.NewReader(bytes.NewReader(stream))
	for _, want := range goldenFrames {
		if f, err := readFrame(br, 100); err != nil || f.typ != want.typ || f.kind != want.kind || !bytes.Equal(f.payload, want.payload) {
			t.Errorf("frame: %+v %v, want %+v", f, err, want)
		}
	}
	if _, err := readFrame(br, 100); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// The largest of everything still fits where it must.
func TestMetaFitsIntoGossip(t *testing.T) {
	long := strings.Repeat("x", idMax)
	if b := appendMeta(nil, meta{version: 1, cluster: long, hasState: true, expect: 255, addr: long, client: long, admin: long}); len(b) > 512 {
		t.Errorf("%d bytes", len(b))
	}
	var buf bytes.Buffer
	writeHello(&buf, welcome, hello{version: 1, clusterID: long, from: Peer{long, long}, addr: long, want: long})
	if _, _, err := readHello(&buf); err != nil {
		t.Errorf("a long hello: %v", err)
	}
}

func TestBadFrames(t *testing.T) {
	for _, tc := range []struct {
		name string
		raw  []byte
	}{
		{"unknown type", []byte{0, 0, 0, 0, 9, 0}},
		{"type zero", []byte{0, 0, 0, 0, 0, 0}},
		{"too long", []byte{101, 0, 0, 0, 2, 0}},
		{"longer than memory", []byte{255, 255, 255, 255, 2, 0}},
		{"a ping with something in it", []byte{1, 0, 0, 0, 1, 0, 0}},
		{"a request without an id", []byte{11, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"a response without an id", []byte{7, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"cut in the header", []byte{0, 0, 0}},
		{"cut in the payload", []byte{5, 0, 0, 0, 2, 0, 1}},
	} {
		if f, err := readFrame(bufio.NewReader(bytes.NewReader(tc.raw)), 100); err == nil || err == io.EOF {
			t.Errorf("%s: %+v, %v", tc.name, f, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, g := range goldenFrames {
		f.Add(frameBytes(g))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		br := bufio.NewReader(bytes.NewReader(b))
		for {
			fr, err := readFrame(br, 1000)
			if err != nil {
				return
			}
			if len(fr.payload) > 1000+requestPrefix {
				t.Fatalf("%d bytes of payload", len(fr.payload))
			}
			raw := frameBytes(fr)
			if !bytes.HasPrefix(b, raw) {
				t.Fatalf("read %x as %x", b, raw)
			}
			b = b[len(raw):]
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(appendHello(nil, goldenHello))
	f.Add(appendHello(nil, hello{version: 2, from: Peer{"n1", "b1"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(b)
		if err != nil || h.version != protocolVersion {
			return
		}
		if again, err := decodeHello(appendHello(nil, h)); err != nil || again != h {
			t.Fatalf("%+v → %+v, %v", h, again, err)
		}
	})
}

func FuzzRenewal(f *testing.F) {
	f.Add(appendRenewal(nil, goldenRenewal))
	f.Add(appendRenewal(nil, renewal{member: Member{Node: "n", Boot: "b"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRenewal(b)
		if err != nil {
			return
		}
		if again, err := decodeRenewal(appendRenewal(nil, r)); err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v → %+v, %v", r, again, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, a := range goldenAnswers {
		f.Add(appendAnswer(nil, a))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAnswer(b)
		if err != nil {
			return
		}
		if again, err := decodeAnswer(appendAnswer(nil, a)); err != nil || again != a {
			t.Fatalf("%+v → %+v, %v", a, again, err)
		}
	})
}

func FuzzMeta(f *testing.F) {
	f.Add(appendMeta(nil, goldenMeta))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil || m.version != protocolVersion {
			return
		}
		if again, err := decodeMeta(appendMeta(nil, m)); err != nil || again != m {
			t.Fatalf("%+v → %+v, %v", m, again, err)
		}
	})
}

func FuzzProposal(f *testing.F) {
	f.Add(appendProposal(nil, goldenProposal))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeProposal(b)
		if err != nil {
			return
		}
		if again, err := decodeProposal(appendProposal(nil, p)); err != nil || !again.equal(p) {
			t.Fatalf("%+v → %+v, %v", p, again, err)
		}
	})
}
