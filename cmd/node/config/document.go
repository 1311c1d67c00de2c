package config

import (
	"fmt"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
)

// oneDocument parses YAML, and refuses what yaml.Parser leaves out in silence: documents behind the first.
type oneDocument struct{ *yaml.YAML }

// secondDocument says that a file holds more than one.
type secondDocument struct{ line int }

func (e *secondDocument) Error() string {
	return fmt.Sprintf("line %d begins a second document, of which nothing would be read; put all settings into one, without a line of --- or ... between them", e.line)
}

// Unmarshal implements koanf.Parser.
func (p oneDocument) Unmarshal(b []byte) (map[string]any, error) {
	out, err := p.YAML.Unmarshal(b)
	if line := beginOfSecond(string(b)); err == nil && line > 0 {
		err = &secondDocument{line}
	}
	return out, err
}

// beginOfSecond is the line in which a second document begins that holds anything, 0 if there is none. A line that begins
// with --- or ... divides documents wherever it stands; YAML 1.2 forbids it within texts (9.1.3, c-forbidden).
func beginOfSecond(text string) int {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(text, "\ufeff"))
	begun, ended := false, 0 // ended: the line in which the first one did
	for i, line := range strings.Split(text, "\n") {
		head, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		switch {
		case head == "---" && !begun:
			begun = true
			continue
		case head == "---" || head == "...":
			if begun && ended == 0 {
				ended = i + 1
			}
			line = rest
		}
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "%") && (!begun || ended > 0):
			// says nothing
		case ended > 0:
			return ended
		default:
			begun = true
		}
	}
	return 0
}
