package rest

import (
	"net/url"
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

// What a link carries comes back from whoever decodes percent signs and leaves + alone, as decodeURIComponent does.
func TestLinksAreReadByDecodeURIComponent(t *testing.T) {
	form := regexp.MustCompile(`^<\./presence\?clientId=([^&,/>+]*)>; rel="next"$`)
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ +%,/&=<>a]{0,9}`)).Draw(t, "value")
		link := formatLink("next", "presence", url.Values{"clientId": {value}})
		part := form.FindStringSubmatch(link)
		if part == nil {
			t.Fatalf("link %q", link)
		}
		if got, err := url.PathUnescape(part[1]); err != nil || got != value {
			t.Fatalf("%q came back as %q, %v", value, got, err)
		}
	})
}
