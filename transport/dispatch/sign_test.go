package dispatch

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// verify is how a receiver checks a request after the text of Standard Webhooks, written without the signer: one of the
// signatures must be right, and the timestamp near.
func verify(secret string, h http.Header, body []byte, now time.Time) error {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
	key := []byte(secret)
	if ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return err
		}
	}
	id, timestamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	if id == "" || strings.Contains(id, ".") {
		return fmt.Errorf("webhook-id %q", id)
	}
	sec, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(sec, 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("webhook-timestamp %q at %v", timestamp, now)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	for _, s := range strings.Fields(h.Get("webhook-signature")) {
		version, signature, _ := strings.Cut(s, ",")
		sum, err := base64.StdEncoding.DecodeString(signature)
		if version == "v1" && err == nil && hmac.Equal(sum, mac.Sum(nil)) {
			return nil
		}
	}
	return errors.New("no signature matches")
}

const (
	oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "a plain text of enough bytes"
)

// The example that the specification's own libraries are tested with.
func TestSignatureOfKnownMessage(t *testing.T) {
	key, err := ParseSecret(oldSecret)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	body := []byte(`{"test": 2432232314}`)
	h.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	if err := verify(oldSecret, h, body, time.Unix(1614265330, 0)); err != nil {
		t.Errorf("the verifier of these tests is wrong: %v", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + string(body)))
	if got := base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("the key of the secret signs %s", got)
	}
}

// attempt is one request as the sink got it.
type attempt struct {
	header http.Header
	body   []byte
	at     time.Time
}

// recorder keeps all requests and fails the first ones.
type recorder struct {
	mu   sync.Mutex
	fail int
	got  []attempt
}

func (s *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, attempt{r.Header.Clone(), b, time.Now()})
	if s.fail--; s.fail >= 0 {
		return reply(500, ""), nil
	}
	return reply(200, "{}"), nil
}

func (s *recorder) take() []attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func TestRequestsAreSignedWithAllSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &recorder{}
		r := rule()
		r.Secrets = []string{newSecret, oldSecret}
		start(t, log, sink, r)
		log.occupy("chat:1", "chat:2")
		eventually(t, "received", func() bool { return len(sink.take()) >= 2 })
		for _, a := range sink.take() {
			for _, secret := range r.Secrets {
				if err := verify(secret, a.header, a.body, a.at); err != nil {
					t.Errorf("with %s: %v (%v)", secret, err, a.header)
				}
			}
			if err := verify("another secret, not ours", a.header, a.body, a.at); err == nil {
				t.Error("a wrong secret verifies")
			}
			if err := verify(oldSecret, a.header, append(a.body, ' '), a.at); err == nil {
				t.Error("a changed body verifies")
			}
		}
	})
}

func TestUnsignedRequestsStillNameTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &recorder{}
		start(t, log, sink, rule())
		log.occupy("chat:1")
		eventually(t, "received", func() bool { return len(sink.take()) == 1 })
		h := sink.take()[0].header
		if h.Get("webhook-id") == "" || h.Get("webhook-timestamp") == "" || h.Values("webhook-signature") != nil {
			t.Errorf("header = %v", h)
		}
	})
}

// A batch that failed is sent again as it was, under the same id, although more events wait behind it by then; the
// timestamp and with it the signature are of the attempt. Another node or a later term gives it the same id again.
func TestResentBatchKeepsItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &recorder{fail: 5}
		r := rule()
		r.Secrets = []string{oldSecret}
		d := start(t, log, sink, r)
		log.occupy("chat:1")
		eventually(t, "tried", func() bool { return len(sink.take()) == 1 })
		log.occupy("chat:1", "chat:1", "chat:1")
		eventually(t, "all sent", func() bool { return len(sink.take()) == 7 })
		got := sink.take()
		times := make(map[string]bool)
		for i, a := range got[:6] {
			if a.header.Get("webhook-id") != got[0].header.Get("webhook-id") || !bytes.Equal(a.body, got[0].body) {
				t.Errorf("attempt %d is %s %s, the first was %s %s", i, a.header.Get("webhook-id"), a.body, got[0].header.Get("webhook-id"), got[0].body)
			}
			if err := verify(oldSecret, a.header, a.body, a.at); err != nil {
				t.Errorf("attempt %d: %v", i, err)
			}
			times[a.header.Get("webhook-timestamp")] = true
		}
		if len(times) < 2 {
			t.Errorf("timestamps of attempts over %v: %v", got[5].at.Sub(got[0].at), slices.Collect(maps.Keys(times)))
		}
		if got[6].header.Get("webhook-id") == got[0].header.Get("webhook-id") {
			t.Error("two batches have one id")
		}
		d.Close()
		again := &recorder{}
		other := newFakeLog()
		other.occupy("chat:1")
		start(t, other, again, r)
		eventually(t, "sent by another node", func() bool { return len(again.take()) == 1 })
		if a := again.take()[0]; a.header.Get("webhook-id") != got[0].header.Get("webhook-id") {
			t.Errorf("another node names the batch %s", a.header.Get("webhook-id"))
		}
	})
}

func TestParseSecret(t *testing.T) {
	for text, want := range map[string]string{
		"whsec_" + strings.Repeat("A", 21) + "A==": "",
		"whsec_" + strings.Repeat("A", 22):         "", // without padding
		strings.Repeat("x", 16):                    "",
		strings.Repeat("x", 15):                    "a key of 15 bytes; it must be 16 to 256",
		strings.Repeat("x", 257):                   "a key of 257 bytes",
		"whsec_AAAA":                               "a key of 3 bytes",
		"whsec_geheim!":                            "is not base64 behind whsec_",
		"":                                         "a key of 0 bytes",
	} {
		_, err := ParseSecret(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}
