package conformance

import (
	"net/http"
)

// provisioning is about apps that are made and deleted by requests.
func provisioning() []check {
	make := func(e *env, node int, body any) *reply {
		return e.rest(node, "POST", "/apps", body, "Authorization:")
	}
	return []check{
		{section: "12", name: "an app as it was asked for", run: func(e *env) {
			r := make(e, 0, m{
				"limits":     m{"presence": m{"maxMembers": 250}},
				"keys":       []m{{}, {"capability": `{"a":["subscribe"]}`}, {"revocableTokens": true}},
				"namespaces": []m{{"id": "persisted", "persisted": true}, {"id": "pushenabled", "pushEnabled": true}},
				"channels":   []m{{"name": "persisted:presence_fixtures", "presence": []m{{"clientId": "client_bool", "data": "true"}}}},
			})
			e.is("status", r.status, http.StatusCreated)
			a := r.obj()
			e.ok("ids", a.str("appId") != "" && a.str("accountId") != "" && a.str("id") == a.str("appId"))
			e.is("status", a["status"], 1)
			e.is("tlsOnly", a["tlsOnly"], false)
			e.is("keys", len(a.list("keys")), 3)
			e.is("namespaces", len(a.list("namespaces")), 2)
			e.is("channels", len(a.list("channels")), 1)
			e.is("connections", a["connections"], []any{})
			for i, k := range a.all("keys") {
				e.is("keyName", k["keyName"], a.str("appId")+"."+k.str("id"))
				e.is("keyStr", k["keyStr"], k.str("keyName")+":"+k.str("value"))
				e.is("keySecret", k["keySecret"], k["value"])
				e.is("capability", k["capability"], []string{`{"*":["*"]}`, `{"a":["subscribe"]}`, `{"*":["*"]}`}[i])
			}
			e.is("namespace", a.all("namespaces")[0]["id"], "persisted")
		}},
		{section: "12", name: "where it is served, with and without a port in Host", run: func(e *env) {
			for _, row := range []struct {
				headers  []string
				endpoint string
				port     int
				tls      bool
			}{
				{[]string{"Host: innkeeper.example:8081"}, "innkeeper.example", 8081, false},
				{[]string{"Host: innkeeper.example"}, "innkeeper.example", 80, false},
				{[]string{"Host: innkeeper.example", "X-Forwarded-Proto: https"}, "innkeeper.example", 443, true},
				{[]string{"Host: [::1]"}, "::1", 80, false},
			} {
				a := e.post(0, "/apps", m{"keys": []m{}}, append(row.headers, "Authorization:")...).obj()
				e.is("endpoint", a["endpoint"], row.endpoint)
				e.is("port", a["port"], row.port)
				e.is("tls", a["tls"], row.tls)
			}
		}},
		{section: "12", name: "its keys are known on every node at once", run: func(e *env) {
			a := make(e, 0, m{"keys": []m{{}}}).obj()
			for node := range 3 {
				e.connect(node, "key="+a.all("keys")[0].str("keyStr")).attach(e.name("fresh"))
			}
		}},
		{section: "12", name: "DELETE takes the app and its connections away on every node", run: func(e *env) {
			a := make(e, 0, m{"keys": []m{{}}}).obj()
			key := a.all("keys")[0].str("keyStr")
			var all []*client
			for node := range 3 {
				all = append(all, e.connect(node, "key="+key))
			}
			r := e.rest(1, "DELETE", "/apps/"+a.str("appId"), nil, "Authorization: "+basic(key))
			e.is("status", r.status, http.StatusNoContent)
			for node, c := range all {
				e.is("code", c.expect(failed).code(), 40131)
				e.fails(e.refused(node, "key="+key), 40101, 401)
			}
		}},
		{section: "12", name: "DELETE needs a key of the app", run: func(e *env) {
			a := make(e, 0, m{"keys": []m{{}, {"capability": `{"a":["*"]}`}}}).obj()
			path := "/apps/" + a.str("appId")
			e.is("status", e.rest(0, "DELETE", path, nil).status, 401)
			e.is("status", e.rest(0, "DELETE", path, nil, "Authorization:").status, 401)
			e.refuses(e.rest(0, "DELETE", path, nil, "Authorization: "+basic(a.all("keys")[1].str("keyStr"))), 40160, 401)
			e.refuses(e.rest(0, "DELETE", "/apps/demo", nil, "Authorization: "+basic("demo.root:secret")), 40300, 403)
		}},
		{section: "12", name: "what is no app is refused", run: func(e *env) {
			for _, body := range []any{[]any{}, m{"keys": "x"}, m{"keys": []m{{"capability": "x"}}}, m{"namespaces": []m{{"id": ""}}}, m{"namespaces": []m{{"id": "a:b"}}}} {
				r := make(e, 0, body)
				e.is("status", r.status, 400)
			}
		}},
	}
}
