package auth

import (
	"bytes"
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
// cluster gave it to this client. Any node that knows the API key checks the proof by itself. A connection stays the
// client's when it goes on under another key of the app, so that any of them may have proved it.
type ConnectionKey struct {
	ID       string
	Boot     uint64 // BootTag of the start of a node that gave it
	MadeMs   int64  // unix ms
	ClientID string // of the connection's identity: a concrete client, Wildcard, or "" for an unidentified one
}

// As text it is the id, "!", and in base64 when it was made (6 bytes), the boot (8), a hint at the app (2), a MAC of all
// this under a secret that every node derives from the API key's, and the client id.
const (
	connectionIDBytes = 9 // random
	keyWhenBytes      = 6
	keyBootBytes      = 8
	keyAppBytes       = 2
	keySignedBytes    = keyWhenBytes + keyBootBytes + keyAppBytes
	keyMACBytes       = 14
	keyFixedBytes     = keySignedBytes + keyMACBytes

	connectionPurpose = "innkeeper connection 3\n"
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

// appHint tells most apps apart, so that a key of another app is known for one without trying all keys there are.
func appHint(app string) [keyAppBytes]byte {
	sum := sha256.Sum256([]byte(app))
	return [keyAppBytes]byte(sum[:])
}

// Text gives the key its text, as of now. Without a known API key it proves nothing.
func (c *ConnectionKey) Text(k *Keys, keyName string, now time.Time) string {
	var when [8]byte
	binary.BigEndian.PutUint64(when[:], uint64(now.UnixMilli()))
	b := append(make([]byte, 0, keyFixedBytes+len(c.ClientID)), when[8-keyWhenBytes:]...)
	b = binary.BigEndian.AppendUint64(b, c.Boot)
	key, _ := k.LookupName(keyName)
	hint := appHint(key.App)
	b = append(b, hint[:]...)
	b = append(b, key.signConnection(c.ID, b, c.ClientID)...)
	return c.ID + "!" + opaque.Text(append(b, c.ClientID...))
}

// ReadConnectionKey reads a key that was given to a client of an app; the app's API key keyName is the first to be tried.
// Text that cannot be one is 80018, a key that says it is another app's 80011, and one that no API key of the app has
// proved 80008.
func (k *Keys) ReadConnectionKey(app, keyName, text string) (*ConnectionKey, *protocol.ErrorInfo) {
	c, signed, mac, err := splitConnectionKey(text)
	if err != nil {
		return nil, err
	}
	if hint := appHint(app); !bytes.HasSuffix(signed, hint[:]) {
		return nil, protocol.Errorf(protocol.CodeOtherCredentials, "the connection cannot be resumed: it is another app's")
	}
	proves := func(key *Key) bool {
		return key.App == app && hmac.Equal(mac, key.signConnection(c.ID, signed, c.ClientID))
	}
	if key, known := k.LookupName(keyName); known && proves(&key) {
		return c, nil
	}
	for _, key := range k.OfApp(app) {
		if proves(&key) {
			return c, nil
		}
	}
	return nil, protocol.Errorf(protocol.CodeConnectionGone, "the connection cannot be resumed: it is not one of this app in this cluster")
}

// ReadConnectionKeyOf does the same where the connection is to be published for (40006).
func (k *Keys) ReadConnectionKeyOf(app, text string) (*ConnectionKey, *protocol.ErrorInfo) {
	c, err := k.ReadConnectionKey(app, "", text)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadConnectionID, "connectionKey is not one of a connection of this app")
	}
	return c, nil
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
	signed, mac = b[:keySignedBytes:keySignedBytes], b[keySignedBytes:keyFixedBytes]
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
