package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What Forwarder carries. A request is a byte that says what it asks, a version, and
//
//	records   records one after the other
//	init      the init command of a bootstrapped cluster, as it will stand in the log
//	newest    nothing more
//	table     a table command, as it stands in the log but for the time
//
// An answer is a status byte and
//
//	answered    uvarint count, then outcome and uvarint n per record (count 0 for init)
//	not leader  the leader's node id, "" when unknown
//	unknown     a text: what was asked may or may not take place
//	newest      uvarint seq of an event that is no older than any committed before the question
//	table       uvarint version of the table, whether the row was there and is another
const (
	forwardRecords byte = 1
	forwardInit    byte = 2
	forwardNewest  byte = 3
	forwardTable   byte = 4
	forwardVersion      = 1

	statusAnswered  byte = 1
	statusNotLeader byte = 2
	statusUnknown   byte = 3
	statusNewest    byte = 4
	statusTable     byte = 5
)

func splitForward(b []byte) (kind byte, body []byte, err error) {
	if len(b) < 2 {
		return 0, nil, errShort
	}
	if b[1] != forwardVersion || b[0] < forwardRecords || b[0] > forwardTable {
		return 0, nil, fmt.Errorf("unknown kind %d version %d", b[0], b[1])
	}
	return b[0], b[2:], nil
}

func appendVerdicts(dst []byte, verdicts []verdict) []byte {
	dst = binary.AppendUvarint(append(dst, statusAnswered), uint64(len(verdicts)))
	for _, v := range verdicts {
		dst = binary.AppendUvarint(append(dst, byte(v.outcome)), v.n)
	}
	return dst
}

// appendRefusal lays out why there is no answer.
func appendRefusal(dst []byte, err error) []byte {
	var notLeader *NotLeaderError
	if errors.As(err, &notLeader) {
		return append(append(dst, statusNotLeader), notLeader.Leader...)
	}
	text := err.Error()
	return append(append(dst, statusUnknown), text[:min(len(text), stringBytesMax)]...)
}

// decodeAnswer returns the verdicts, or the refusal as an error: NotLeaderError or ErrUnknownOutcome.
func decodeAnswer(b []byte) ([]verdict, error) {
	d := decoder{rest: b}
	switch status := d.byte(); status {
	case statusAnswered:
		var verdicts []verdict
		for range d.count(recordBytesMax) {
			v := verdict{outcome(d.byte()), d.uvarint()}
			if d.err == nil && (v.outcome < outcomeDone || v.outcome > outcomeGap) {
				d.fail(fmt.Errorf("unknown outcome %d", v.outcome))
			}
			if d.err != nil {
				break
			}
			verdicts = append(verdicts, v)
		}
		if err := d.end(); err != nil {
			return nil, fmt.Errorf("%w: leader's answer: %w", ErrUnknownOutcome, err)
		}
		return verdicts, nil
	case statusNotLeader:
		return nil, &NotLeaderError{Leader: string(d.rest)}
	case statusUnknown:
		return nil, fmt.Errorf("%w: leader says %s", ErrUnknownOutcome, d.rest)
	default:
		return nil, fmt.Errorf("%w: leader's answer has status %d", ErrUnknownOutcome, status)
	}
}

func appendNewest(dst []byte, seq uint64) []byte {
	return binary.AppendUvarint(append(dst, statusNewest), seq)
}

// decodeNewest returns the seq, or the refusal as decodeAnswer does.
func decodeNewest(b []byte) (uint64, error) {
	if len(b) > 0 && b[0] == statusNewest {
		d := decoder{rest: b[1:]}
		seq := d.uvarint()
		if err := d.end(); err != nil {
			return 0, fmt.Errorf("%w: leader's answer: %w", ErrUnknownOutcome, err)
		}
		return seq, nil
	}
	_, err := decodeAnswer(b)
	if err == nil {
		err = fmt.Errorf("%w: leader's answer is to another question", ErrUnknownOutcome)
	}
	return 0, err
}
