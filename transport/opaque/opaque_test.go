package opaque

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		text := Text(b)
		if again, ok := Bytes(text); !ok || !bytes.Equal(again, b) || len(text) != Len(len(b)) {
			t.Fatalf("%x is written as %q (%d), and read as %x", b, text, Len(len(b)), again)
		}
	})
}

// What is read has one text: nothing else than what Text writes is taken for it.
func TestOnlyItsText(t *testing.T) {
	if b, ok := Bytes("_-8"); !ok || !bytes.Equal(b, []byte{0xff, 0xef}) {
		t.Fatalf("%x, %v", b, ok)
	}
	for _, text := range []string{"_-8=", "/+8", "_-9", "_\n-8", "_-8\r\n", "\r", " _-8", "_-8 ", "_", "é"} {
		if b, ok := Bytes(text); ok {
			t.Errorf("%q is taken for %x", text, b)
		}
	}
}
