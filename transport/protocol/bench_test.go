package protocol

import (
	"strings"
	"testing"

	"innkeeper/channel"
)

func benchMessages() []channel.Message {
	return []channel.Message{{Name: "greeting", ClientID: "alice", Kind: channel.StringData, Data: []byte(strings.Repeat("x", 128))}}
}

func BenchmarkDecodePublish(b *testing.B) {
	for _, f := range formats {
		frame := AppendPublish(nil, f, "chat:room", 7, nil, benchMessages()...)
		b.Run(f.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				pm, err := Decode(f, frame)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := Canonical(pm.Messages, CanonicalOptions{MaxSize: 65536}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeAttach(b *testing.B) {
	for _, f := range formats {
		frame := AppendAttach(nil, f, &Attach{Channel: "chat:room", Params: map[string]string{"occupancy": "metrics"}})
		b.Run(f.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(f, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	d := &channel.Delivery{Name: "chat:room", Serial: "01726585978590-001@series", ID: "xbY3mZpQ4Kcd:7", ConnID: "xbY3mZpQ4Kcd", TimeMs: 1726585978590, Messages: benchMessages()}
	for _, f := range formats {
		b.Run(f.String(), func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = AppendMessage(buf[:0], f, "chat:room", d)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

func BenchmarkAppendAck(b *testing.B) {
	for _, f := range formats {
		b.Run(f.String(), func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = AppendAck(buf[:0], f, 7, Ack{"01726585978590-001@series", 1})
			}
		})
	}
}
