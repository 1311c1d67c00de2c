package dispatch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Requests carry the headers of Standard Webhooks: an id that names the batch, the time of the attempt, and, where the
// rule has secrets, a signature of both and the body for each secret.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

const (
	secretPrefix   = "whsec_"
	secretBytesMin = 16
	secretBytesMax = 256
)

// ParseSecret returns the key that a secret stands for: base64 behind "whsec_", or else the text itself. Errors never
// repeat the secret.
func ParseSecret(text string) ([]byte, error) {
	key := []byte(text)
	if encoded, ok := strings.CutPrefix(text, secretPrefix); ok {
		var err error
		key, err = base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(encoded, "="))
		if err != nil {
			return nil, errors.New("is not base64 behind " + secretPrefix)
		}
	}
	if len(key) < secretBytesMin || len(key) > secretBytesMax {
		return nil, fmt.Errorf("stands for a key of %d bytes; it must be %d to %d", len(key), secretBytesMin, secretBytesMax)
	}
	return key, nil
}

// signer makes the webhook headers of one rule. It is immutable.
type signer struct {
	rule string   // app and id
	keys [][]byte // none: requests are not signed
}

func newSigner(r *Rule) (*signer, error) {
	s := &signer{rule: r.Cursor()}
	for i, text := range r.Secrets {
		key, err := ParseSecret(text)
		if err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

// sign sets the headers for one attempt to send a batch.
func (s *signer) sign(h http.Header, now time.Time, events []Event, body []byte) {
	id := s.batchID(events)
	timestamp := strconv.FormatInt(now.Unix(), 10)
	h.Set(headerID, id)
	h.Set(headerTimestamp, timestamp)
	if len(s.keys) == 0 {
		return
	}
	var signatures []byte
	for i, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		if i > 0 {
			signatures = append(signatures, ' ')
		}
		signatures = base64.StdEncoding.AppendEncode(append(signatures, "v1,"...), mac.Sum(nil))
	}
	h.Set(headerSignature, string(signatures))
}

// batchID names a batch by what is in it: the same events for the same rule have the same id, whichever node sends them
// and however often. It has no dot, for dots separate what is signed.
func (s *signer) batchID(events []Event) string {
	sum := sha256.New()
	sum.Write([]byte(s.rule))
	for i := range events {
		sum.Write([]byte{0})
		sum.Write([]byte(events[i].ID))
	}
	return "msg_" + hex.EncodeToString(sum.Sum(nil)[:16])
}
