package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"innkeeper/transport/opaque"
	"innkeeper/transport/protocol"
)

// ConnectionKey is what a client shows to go on with a connection: the connection's id and a proof that a node of this
// cluster gave it to this client. Any node that knows the API key checks the proof by itself.
type ConnectionKey struct {
	ID       string
	Boot     uint64 // BootTag of the start of a node that gave it
	MadeMs   int64  // unix ms
	ClientID string // of the connection's identity: a concrete client, Wildcard, or "" for an unidentified one
}

// As text it is the id, "!", and in base64 when it was made (6 bytes), the boot (8), a MAC of all this under a secret that
// every node derives from the API key's, and the client id.
const (
	connectionIDBytes = 9 // random
	keyWhenBytes      = 6
	keyBootBytes      = 8
	keyMACBytes       = 14
	keyFixedBytes     = keyWhenBytes + keyBootBytes + keyMACBytes

	connectionPurpose = "innkeeper connection 2\n"
)

// NewConnectionID draws an id for a connection.
func NewConnectionID() string {
	var b [connectionIDBytes]byte
	rand.Read(b[:])
	return opaque.Text(b[:])
}

// BootTag is how a connection key names one start of a node.
func BootTag(boot string) uint64 {
	sum := sha256.Sum256([]byte(boot))
	return binary.BigEndian.Uint64(sum[:])
}

// Text gives the key its text, as of now. Without a known API key it proves nothing.
func (c *ConnectionKey) Text(k *Keys, keyName string, now time.Time) string {
	var when [8]byte
	binary.BigEndian.PutUint64(when[:], uint64(now.UnixMilli()))
	b := append(make([]byte, 0, keyFixedBytes+len(c.ClientID)), when[8-keyWhenBytes:]...)
	b = binary.BigEndian.AppendUint64(b, c.Boot)
	key, _ := k.LookupName(keyName)
	b = append(b, key.signConnection(c.ID, b, c.ClientID)...)
	return c.ID + "!" + opaque.Text(append(b, c.ClientID...))
}

// ReadConnectionKey reads a key that was given to a client with the API key keyName. Text that cannot be one is 80018; one
// that the API key did not prove is 80008.
func (k *Keys) ReadConnectionKey(keyName, text string) (*ConnectionKey, *protocol.ErrorInfo) {
	c, signed, mac, err := splitConnectionKey(text)
	if err != nil {
		return nil, err
	}
	key, known := k.LookupName(keyName)
	if !known || !hmac.Equal(mac, key.signConnection(c.ID, signed, c.ClientID)) {
		return nil, protocol.Errorf(protocol.CodeConnectionGone, "the connection cannot be resumed: it is not one of this API key in this cluster")
	}
	return c, nil
}

// ReadConnectionKeyOf does the same for a key given to a client with any API key of an app (40006).
func (k *Keys) ReadConnectionKeyOf(app, text string) (*ConnectionKey, *protocol.ErrorInfo) {
	if c, signed, mac, err := splitConnectionKey(text); err == nil {
		for _, key := range k.set.Load().keys {
			if key.App == app && hmac.Equal(mac, key.signConnection(c.ID, signed, c.ClientID)) {
				return c, nil
			}
		}
	}
	return nil, protocol.Errorf(protocol.CodeBadConnectionID, "connectionKey is not one of a connection of this app")
}

// splitConnectionKey takes a key's text apart without believing it.
func splitConnectionKey(text string) (c *ConnectionKey, signed, mac []byte, err *protocol.ErrorInfo) {
	id, rest, _ := strings.Cut(text, "!")
	b, ok := opaque.Bytes(rest)
	if !ok || len(id) != opaque.Len(connectionIDBytes) || strings.ContainsAny(id, ":\r\n") ||
		len(b) < keyFixedBytes || len(b) > keyFixedBytes+clientIDBytesMax || !utf8.Valid(b[keyFixedBytes:]) {
		return nil, nil, nil, protocol.Errorf(protocol.CodeBadConnectionKey, "the connection key is malformed")
	}
	var when [8]byte
	copy(when[8-keyWhenBytes:], b)
	c = &ConnectionKey{
		ID: strings.Clone(id), Boot: binary.BigEndian.Uint64(b[keyWhenBytes:]),
		MadeMs: int64(binary.BigEndian.Uint64(when[:])), ClientID: string(b[keyFixedBytes:]),
	}
	signed, mac = b[:keyWhenBytes+keyBootBytes:keyWhenBytes+keyBootBytes], b[keyWhenBytes+keyBootBytes:keyFixedBytes]
	return c, signed, mac, nil
}

// signConnection is the proof.
func (key *Key) signConnection(id string, signed []byte, client string) []byte {
	derive := hmac.New(sha256.New, []byte(key.Secret))
	derive.Write([]byte(connectionPurpose + key.Name()))
	mac := hmac.New(sha256.New, derive.Sum(nil))
	mac.Write([]byte(id))
	mac.Write(signed)
	mac.Write([]byte(client))
	return mac.Sum(nil)[:keyMACBytes]
}
