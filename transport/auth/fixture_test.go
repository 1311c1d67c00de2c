package auth

import (
	"strings"
	"testing"

	"innkeeper/channel"
)

func TestFixturesOfAnApp(t *testing.T) {
	app, err := NewApp([]byte(`{"limits":{"presence":{"maxMembers":250}},"channels":[{"name":"empty"},{"name":"a:b","presence":[
		{"clientId":"x","data":"text"},{"clientId":"y","data":"AQI=","encoding":"cipher+aes-128-cbc/base64"}]}]}`), 1)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := app.Fixtures()
	if len(list) != 1 || list[0].Name != "a:b" || len(list[0].Members) != 2 {
		t.Fatalf("%+v", list)
	}
	if m := list[0].Members[1]; m.ClientID != "y" || m.Kind != channel.BinaryData || string(m.Data) != "\x01\x02" || m.Encoding != "cipher+aes-128-cbc" {
		t.Errorf("%+v", m)
	}
	if most, _ := app.PresenceMembers(); most == nil || *most != 250 {
		t.Errorf("%v members at most", most)
	}
	for body, want := range map[string]string{
		`{"channels":{}}`: "array",
		`{"channels":[{"name":":x","presence":[{"clientId":"x"}]}]}`:         "channel name",
		`{"channels":[{"name":"x","presence":[{}]}]}`:                        "clientId",
		`{"channels":[{"name":"x","presence":[{"clientId":"*"}]}]}`:          "clientId",
		`{"channels":[{"name":"x","presence":[{"clientId":"x","data":1}]}]}`: "data",
		`{"limits":{"presence":{"maxMembers":0}}}`:                           "maxMembers",
		`{"limits":[]}`: "limits",
	} {
		if _, err := NewApp([]byte(body), 1); err == nil || !strings.Contains(err.Message, want) {
			t.Errorf("%s: %v, want something of %q", body, err, want)
		}
	}
}
