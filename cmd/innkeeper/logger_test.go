package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"innkeeper/cmd/node/config"
)

func TestDurationsHaveUnits(t *testing.T) {
	for format, want := range map[string]string{"text": "took=1.5s left=3", "json": `"took":"1.5s","left":3`} {
		var b bytes.Buffer
		newLogger(config.Log{Level: "info", Format: format}, &b).Info("done", "took", 1500*time.Millisecond, "left", 3)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s, want %s", format, b.String(), want)
		}
	}
}
