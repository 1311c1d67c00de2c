package transport

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// Connections are resumed without state. A connection key is the connection's id and a proof that a node of this cluster
// gave it to this client; any node checks the proof and goes on under the same id. What makes that safe is kept
// elsewhere: channels continue from their serials, and publishes that are sent again are known by (connection id,
// msgSerial) to the channels' owners.
//
// A key is the id, "!", and in base64 when it was made (unix ms, 6 bytes), a tag of the client id (4 bytes) and a MAC of
// all this under a secret that every node derives from the API key's.
const (
	idBytes     = 9 // random
	whenBytes   = 6
	tagBytes    = 4
	macBytes    = 14
	secretBytes = whenBytes + tagBytes + macBytes

	resumePurpose = "innkeeper connection 1\n"
)

var keyEncoding = base64.RawURLEncoding

// identify gives the connection its id and key: those of the connection to resume, where the proof holds, else new
// ones. The error is for CONNECTED: why the client does not go on where it was.
func (c *conn) identify(resume string) *protocol.ErrorInfo {
	id, err := c.resumable(resume)
	if id == "" {
		var b [idBytes]byte
		rand.Read(b[:])
		id = keyEncoding.EncodeToString(b[:])
	}
	c.id = id
	c.key = c.makeKey(time.Now())
	return err
}

func (c *conn) resumable(resume string) (id string, err *protocol.ErrorInfo) {
	if resume == "" {
		return "", nil
	}
	id, text, _ := strings.Cut(resume, "!")
	proof, bad := keyEncoding.DecodeString(text)
	if bad != nil || len(id) != keyEncoding.EncodedLen(idBytes) || len(proof) != secretBytes || strings.ContainsAny(id, ":\r\n") {
		return "", protocol.Errorf(protocol.CodeBadConnectionKey, "the connection key to resume is malformed")
	}
	signed, mac := proof[:whenBytes+tagBytes], proof[whenBytes+tagBytes:]
	if !hmac.Equal(mac, c.sign(id, signed)) {
		return "", protocol.Errorf(protocol.CodeConnectionGone, "the connection cannot be resumed: it is not one of this API key in this cluster")
	}
	switch tag := string(signed[whenBytes:]); tag {
	case string(clientTag(c.identity.ClientID)), string(clientTag(auth.Wildcard)):
		return strings.Clone(id), nil
	}
	return "", protocol.Errorf(protocol.CodeOtherCredentials, "the connection cannot be resumed: it is another client's")
}

func (c *conn) makeKey(now time.Time) string {
	var when [8]byte
	binary.BigEndian.PutUint64(when[:], uint64(now.UnixMilli()))
	signed := append(when[8-whenBytes:], clientTag(c.identity.ClientID)...)
	return c.id + "!" + keyEncoding.EncodeToString(append(signed, c.sign(c.id, signed)...))
}

// sign is the proof. Without a known API key it proves nothing: such a client is refused.
func (c *conn) sign(id string, signed []byte) []byte {
	key, _ := c.g.cfg.Auth.LookupName(c.identity.KeyName)
	derive := hmac.New(sha256.New, []byte(key.Secret))
	derive.Write([]byte(resumePurpose + key.Name()))
	mac := hmac.New(sha256.New, derive.Sum(nil))
	mac.Write([]byte(id))
	mac.Write(signed)
	return mac.Sum(nil)[:macBytes]
}

func clientTag(client string) []byte {
	sum := sha256.Sum256([]byte(client))
	return sum[:tagBytes]
}

// holders knows the connections of this node by id: one socket each.
type holders struct {
	mu   sync.Mutex
	byID map[string]*conn
}

// hold makes c the one that has its id, and returns who had it before.
func (h *holders) hold(c *conn) (before *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byID == nil {
		h.byID = make(map[string]*conn)
	}
	before = h.byID[c.id]
	h.byID[c.id] = c
	return before
}

func (h *holders) release(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byID[c.id] == c {
		delete(h.byID, c.id)
	}
}
