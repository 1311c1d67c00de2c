package cluster

import (
	"encoding/binary"
	"fmt"
	"io"
)

// protocolVersion is the version of everything nodes say to each other. Nodes of different versions do not talk.
const protocolVersion = 1

// helloMax bounds a hello on the wire.
const helloMax = 1024

// hello is what both ends of a link say first.
type hello struct {
	version   byte
	clusterID string // "" until the node belongs to a cluster
	from      Peer
	addr      string // where the speaker's links are reached
	want      string // dialer only: the node it means to reach
}

// refusal says why an end does not want the link. The zero value is none.
type refusal byte

const (
	welcome refusal = iota
	refusedVersion
	refusedCluster
	refusedNode      // the dialer means another node
	refusedDuplicate // the dialer's node id is taken: by this node, or by a boot that is alive and linked
	refusedClosed    // not started, or stopping
)

func (r refusal) String() string {
	switch r {
	case welcome:
		return "welcome"
	case refusedVersion:
		return "another protocol version"
	case refusedCluster:
		return "another cluster id"
	case refusedNode:
		return "another node lives at this address"
	case refusedDuplicate:
		return "the node id is in use by another live process"
	case refusedClosed:
		return "not ready for links"
	}
	return "unknown refusal"
}

// LinkRefusedError is why a peer, or this node, refused a link.
type LinkRefusedError struct {
	Reason string
	Mine   bool // this node refused it
}

func (e *LinkRefusedError) Error() string {
	if e.Mine {
		return "cluster: link refused: " + e.Reason
	}
	return "cluster: peer refused the link: " + e.Reason
}

// judge says whether a node that says h of itself may link with one that says me.
func (me hello) judge(h hello) refusal {
	switch {
	case h.version != me.version:
		return refusedVersion
	case h.clusterID != "" && me.clusterID != "" && h.clusterID != me.clusterID:
		return refusedCluster
	case h.from.Node == me.from.Node:
		return refusedDuplicate
	case h.want != "" && h.want != me.from.Node, me.want != "" && me.want != h.from.Node:
		return refusedNode
	}
	return welcome
}

func appendHello(dst []byte, h hello) []byte {
	dst = append(dst, h.version)
	dst = appendString(dst, h.clusterID)
	dst = appendPeer(dst, h.from)
	dst = appendString(dst, h.addr)
	return appendString(dst, h.want)
}

// decodeHello reads a hello. Of another version it knows the version only: the rest may be laid out differently.
func decodeHello(b []byte) (hello, error) {
	r := wireReader{b: b}
	h := hello{version: r.byte()}
	if r.err == nil && h.version != protocolVersion {
		return h, nil
	}
	h.clusterID = r.string(idMax)
	h.from = r.peer()
	h.addr = r.string(idMax)
	h.want = r.string(idMax)
	if r.err == nil && (h.from.Node == "" || h.from.Boot == "") {
		r.fail()
	}
	if err := r.end(); err != nil {
		return hello{}, err
	}
	return h, nil
}

// writeHello sends the answer r and h. The dialer's r is always welcome.
func writeHello(w io.Writer, r refusal, h hello) error {
	b := appendHello([]byte{byte(r), 0, 0}, h)
	binary.LittleEndian.PutUint16(b[1:], uint16(len(b)-3))
	_, err := w.Write(b)
	return err
}

// readHello reads what writeHello sent, and not a byte more.
func readHello(r io.Reader) (refusal, hello, error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, hello{}, err
	}
	n := int(binary.LittleEndian.Uint16(head[1:]))
	if n > helloMax {
		return 0, hello{}, fmt.Errorf("%w: a hello of %d bytes", errWire, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, hello{}, err
	}
	h, err := decodeHello(b)
	return refusal(head[0]), h, err
}
