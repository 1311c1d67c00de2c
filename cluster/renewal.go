package cluster

import (
	"encoding/binary"
	"time"
)

// renewal is what a member tells the leader when it asks for its lease.
type renewal struct {
	member   Member // as it should be committed; State is not sent
	replaces string // the committed boot of this node that the asker knows to be gone; see verdictChallenge
	version  uint64 // of the view the asker has applied
	gone     []Peer // peers that it holds to be gone; see health

	// The asker was told that the cluster is coming back from a full stop, when the last such stop was coldMs.
	recovering bool
	coldMs     int64
}

// goneMax bounds the evidence in one renewal.
const goneMax = 256

func appendRenewal(dst []byte, r renewal) []byte {
	dst = appendPeer(dst, r.member.Peer())
	for _, a := range []string{r.member.Cluster, r.member.Gossip, r.member.Client, r.member.Admin, r.replaces} {
		dst = appendString(dst, a)
	}
	dst = binary.AppendUvarint(dst, r.version)
	gone := r.gone[:min(len(r.gone), goneMax)]
	dst = binary.AppendUvarint(dst, uint64(len(gone)))
	for _, p := range gone {
		dst = appendPeer(dst, p)
	}
	dst = appendBool(dst, r.recovering)
	return binary.AppendUvarint(dst, uint64(r.coldMs))
}

func decodeRenewal(b []byte) (renewal, error) {
	r := wireReader{b: b}
	p := r.peer()
	v := renewal{member: Member{
		Node: p.Node, Boot: p.Boot, State: Alive,
		Cluster: r.string(idMax), Gossip: r.string(idMax), Client: r.string(idMax), Admin: r.string(idMax),
	}}
	v.replaces = r.string(idMax)
	v.version = r.uvarint()
	for range r.count(goneMax) {
		v.gone = append(v.gone, r.peer())
	}
	v.recovering = r.bool()
	v.coldMs = int64(r.uvarint())
	if r.err == nil && (p.Node == "" || p.Boot == "") {
		r.fail()
	}
	if err := r.end(); err != nil {
		return renewal{}, err
	}
	return v, nil
}

// verdict is a leader's answer to a renewal.
type verdict byte

const (
	verdictGranted   verdict = iota + 1
	verdictWait              // not yet: ask again soon
	verdictNotLeader         // ask leader instead, if it names one
	verdictDead              // the boot is committed dead
	// verdictChallenge names the boot that is committed for the asker's node. An asker that was never a member itself
	// repeats the ask with that boot in replaces: a message that a dead process left in a buffer cannot answer so, and
	// thus never undoes its own replacement. An asker that was a member knows that it is replaced.
	verdictChallenge
)

// answer is a verdict with what belongs to it.
type answer struct {
	verdict verdict
	node    string        // NotLeader: the leader, or ""
	addr    string        // NotLeader: its cluster address, or ""
	boot    string        // Challenge
	ttl     time.Duration // Granted
	// Granted: the cluster is coming back from a full stop, and the last one was coldMs.
	recovering bool
	coldMs     int64
}

func appendAnswer(dst []byte, a answer) []byte {
	dst = append(dst, byte(a.verdict))
	for _, s := range []string{a.node, a.addr, a.boot} {
		dst = appendString(dst, s)
	}
	dst = binary.AppendUvarint(dst, uint64(a.ttl/time.Millisecond))
	dst = appendBool(dst, a.recovering)
	return binary.AppendUvarint(dst, uint64(a.coldMs))
}

func decodeAnswer(b []byte) (answer, error) {
	r := wireReader{b: b}
	a := answer{verdict: verdict(r.byte()), node: r.string(idMax), addr: r.string(idMax), boot: r.string(idMax)}
	a.ttl = time.Duration(r.count(int(time.Hour/time.Millisecond))) * time.Millisecond
	a.recovering = r.bool()
	a.coldMs = int64(r.uvarint())
	if r.err == nil && (a.verdict < verdictGranted || a.verdict > verdictChallenge) {
		r.fail()
	}
	if err := r.end(); err != nil {
		return answer{}, err
	}
	return a, nil
}
