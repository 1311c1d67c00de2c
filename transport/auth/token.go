package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"innkeeper/transport/opaque"
	"innkeeper/transport/protocol"
)

// How long tokens live.
const (
	TTLDefault      = time.Hour
	TTLMax          = 24 * time.Hour
	RevocableTTLMax = time.Hour // of keys whose tokens can be revoked: revocations need not be kept for longer
)

// Token is what a token says. It is immutable.
type Token struct {
	KeyName       string
	ClientID      string // a concrete client, Wildcard, or "" for an unidentified one
	RevocationKey string // a group for revocation; "" for none
	IssuedMs      int64  // unix ms
	ExpiresMs     int64
	// Whole says that the token has no capability of its own but that of its key, as it is at use.
	Whole      bool
	Capability Capability // unless Whole

	userClaims []userClaim // of a JWT
}

// A token of ours is the app's id, a dot, and in base64: the version, length and id of the key, a nonce, and the rest
// sealed with a secret that every node derives from the key's own. So any node reads it and no client does. Sealed are
//
//	varint issued (ms), uvarint life (ms), client id, revocation key, uvarint 0 for Whole or 1 + number of resources,
//	per resource its text and uvarint OpSet
//
// with strings as uvarint length and bytes. Layout, version and the bits of OpSet hold for as long as tokens live.
const (
	tokenVersion = 1
	tokenPurpose = "innkeeper token 1"
	tokenNonce   = 12
)

var errToken = errors.New("not a token of this server")

// sealer is the cipher for the tokens of one key.
func sealer(key *Key) cipher.AEAD {
	secret, err := hkdf.Key(sha256.New, []byte(key.Secret), nil, tokenPurpose+"\n"+key.Name(), 32)
	if err != nil {
		panic("auth: " + err.Error()) // only for impossible lengths
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic("auth: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("auth: " + err.Error())
	}
	return aead
}

// text lays out and seals a token.
func (t *Token) text(key *Key) string {
	b := append(make([]byte, 0, 256), tokenVersion)
	b = appendText(b, key.ID)
	open := len(b)
	b = append(b, make([]byte, tokenNonce)...)
	rand.Read(b[open:])
	plain := binary.AppendVarint(nil, t.IssuedMs)
	plain = binary.AppendUvarint(plain, uint64(t.ExpiresMs-t.IssuedMs))
	plain = appendText(plain, t.ClientID)
	plain = appendText(plain, t.RevocationKey)
	if t.Whole {
		plain = append(plain, 0)
	} else {
		plain = binary.AppendUvarint(plain, uint64(1+len(t.Capability.rules)))
		for i := range t.Capability.rules {
			plain = appendText(plain, t.Capability.rules[i].resource)
			plain = binary.AppendUvarint(plain, uint64(t.Capability.rules[i].ops))
		}
	}
	b = sealer(key).Seal(b, b[open:open+tokenNonce], plain, []byte(key.App+string(b[:open])))
	return key.App + "." + opaque.Text(b)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readToken reads a token of ours: 40145 when it cannot be one, 40143 when its key is unknown or did not seal it, 40131 or
// 40120 when its key is shut.
func (k *Keys) readToken(text string) (*Token, Key, *protocol.ErrorInfo) {
	app, rest, _ := strings.Cut(text, ".")
	b, ok := opaque.Bytes(strings.TrimRight(rest, "="))
	if !ok || len(b) < 2 || b[0] != tokenVersion {
		return nil, Key{}, protocol.Errorf(protocol.CodeBadToken, "invalid token format: %s", errToken)
	}
	r := reader{rest: b[1:]}
	id := r.text()
	open := len(b) - len(r.rest)
	if r.bad || id == "" || len(r.rest) < tokenNonce {
		return nil, Key{}, protocol.Errorf(protocol.CodeBadToken, "invalid token format: %s", errToken)
	}
	key, known := k.find(app, id)
	if !known {
		return nil, Key{}, protocol.Errorf(protocol.CodeTokenUnknown, "token unrecognised: its key is not known")
	}
	plain, err := sealer(&key).Open(nil, r.rest[:tokenNonce], r.rest[tokenNonce:], []byte(app+string(b[:open])))
	if err != nil {
		return nil, Key{}, protocol.Errorf(protocol.CodeTokenUnknown, "token unrecognised: it is not one of its key")
	}
	if err := key.refusal(); err != nil {
		return nil, Key{}, err
	}
	t := &Token{KeyName: key.Name()}
	if !t.read(plain) {
		return nil, Key{}, protocol.Errorf(protocol.CodeBadToken, "invalid token format: %s", errToken)
	}
	return t, key, nil
}

func (t *Token) read(plain []byte) bool {
	r := reader{rest: plain}
	t.IssuedMs = r.varint()
	t.ExpiresMs = t.IssuedMs + int64(r.uvarint())
	t.ClientID, t.RevocationKey = r.text(), r.text()
	n := r.uvarint()
	t.Whole = n == 0
	for ; n > 1 && !r.bad; n-- {
		one, err := parseResource(r.text())
		one.ops = OpSet(r.uvarint()) & AllOps
		r.bad = r.bad || err != nil
		t.Capability.rules = append(t.Capability.rules, one)
	}
	return !r.bad && len(r.rest) == 0
}

// reader reads laid-out values; bad sticks, and what follows it is zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	return v * uint64(r.took(n))
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	return v * int64(r.took(n))
}

// took moves on by n bytes and is 1, or 0 when there is nothing readable.
func (r *reader) took(n int) int {
	if r.bad = r.bad || n <= 0; r.bad {
		r.rest = nil
		return 0
	}
	r.rest = r.rest[n:]
	return 1
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
