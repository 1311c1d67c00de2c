// Package opaque writes bytes that a client keeps and shows again, cursors and keys, as text that fits into URLs.
package opaque

import (
	"encoding/base64"
	"strings"
)

// strict refuses bits of a last character that no byte has.
var strict = base64.RawURLEncoding.Strict()

// Len is the length of the text of n bytes.
func Len(n int) int { return strict.EncodedLen(n) }

// Text is unpadded base64 in the alphabet for URLs (RFC 4648 §5).
func Text(b []byte) string { return strict.EncodeToString(b) }

// Bytes reads what Text wrote and nothing else: each content has one text. Line breaks, which Go's decoder skips, are refused
// like any other character.
func Bytes(text string) (b []byte, ok bool) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	b, err := strict.DecodeString(text)
	return b, err == nil
}
