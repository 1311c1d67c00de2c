package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
	"innkeeper/transport/auth"
	"innkeeper/transport/control"
	"innkeeper/transport/limits"
	"innkeeper/transport/meter"
)

// steering is what operators change while the cluster runs: apps, keys, namespaces, rules and limits. It is kept in the
// log: a row for each app, a row for each scope of limits. What stands in the configuration is shown and not changed.
type steering struct{ *authority }

// controlOps are what the control API can do, by operation id.
func (a *authority) controlOps() map[string]control.Op {
	s := steering{a}
	return map[string]control.Op{
		"me":                  s.me,
		"listAccounts":        s.listAccounts,
		"listAccountApps":     s.listAccountApps,
		"accountStats":        s.accountStats,
		"listApps":            s.listApps,
		"createApp":           s.createApp,
		"getApp":              s.getApp,
		"updateApp":           s.updateApp,
		"deleteApp":           s.deleteApp,
		"appStats":            s.appStats,
		"listKeys":            s.listKeys,
		"createKey":           s.createKey,
		"getKey":              s.getKey,
		"updateKey":           s.updateKey,
		"revokeKey":           s.revokeKey,
		"deleteKey":           s.deleteKey,
		"listNamespaces":      s.listNamespaces,
		"createNamespace":     s.createNamespace,
		"getNamespace":        s.getNamespace,
		"updateNamespace":     s.updateNamespace,
		"deleteNamespace":     s.deleteNamespace,
		"listRules":           s.listRules,
		"createRule":          s.createRule,
		"getRule":             s.getRule,
		"updateRule":          s.updateRule,
		"deleteRule":          s.deleteRule,
		"listLimits":          s.listLimits,
		"getAppLimits":        func(r *control.Request) (any, error) { return s.getLimits(r, s.appScope) },
		"updateAppLimits":     func(r *control.Request) (any, error) { return s.updateLimits(r, s.appScope) },
		"deleteAppLimits":     func(r *control.Request) (any, error) { return s.deleteLimits(r, s.appScope) },
		"getAccountLimits":    func(r *control.Request) (any, error) { return s.getLimits(r, s.accountScope) },
		"updateAccountLimits": func(r *control.Request) (any, error) { return s.updateLimits(r, s.accountScope) },
		"deleteAccountLimits": func(r *control.Request) (any, error) { return s.deleteLimits(r, s.accountScope) },
	}
}

// Where something stands.
const (
	inFile = "configuration" // and is changed there
	inLog  = "log"
)

// row is the app's row in the log as of now, and its version, 0 when there is none.
func (s steering) row(id string) (app auth.App, version uint64, err error) {
	r, ok := s.b.store.Row(tableApps, id)
	if !ok {
		return auth.App{ID: id}, 0, nil
	}
	err = json.Unmarshal(r.Value, &app)
	return app, r.Version, err
}

// file is the app in the configuration, nil if it is not there.
func (s steering) file(id string) *config.App {
	for i := range s.b.node.cfg.Apps {
		if c := &s.b.node.cfg.Apps[i]; c.ID == id {
			return c
		}
	}
	return nil
}

// look is an app with what the configuration and the log say of it.
func (s steering) look(id string) (file *config.App, app auth.App, version uint64, err error) {
	file = s.file(id)
	if app, version, err = s.row(id); err == nil && file == nil && version == 0 {
		err = control.NotFound("app", id)
	}
	return file, app, version, err
}

// changeTries is how often a change is tried again that met another one.
const changeTries = 10

// change has do change what the log says of an app, and returns when all nodes know.
func (s steering) change(ctx context.Context, id string, do func(file *config.App, app *auth.App) error) (auth.App, error) {
	for range changeTries {
		// What was committed before this request counts, wherever it was: two changes in a row may reach two nodes.
		if err := s.b.store.ReadIndex(ctx); err != nil {
			return auth.App{}, err
		}
		file, app, was, err := s.look(id)
		if err != nil {
			return app, err
		}
		app.Extends = file != nil
		if err := do(file, &app); err != nil {
			return app, err
		}
		app.ModifiedMs = time.Now().UnixMilli()
		version, err := s.swap(ctx, tableApps, id, &app, was)
		if errors.Is(err, raftstore.ErrExists) {
			continue
		}
		if err != nil {
			return app, err
		}
		return app, s.spread(ctx, tableApps, version)
	}
	return auth.App{}, control.Conflict("app %q is being changed by others all the time; try again", id)
}

func (s steering) swap(ctx context.Context, table, key string, v any, was uint64) (uint64, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	version, err := s.b.store.Swap(ctx, raftstore.Put{Table: table, Key: key, Value: value}, was, false)
	if errors.Is(err, raftstore.ErrInvalid) {
		return 0, control.Invalid(control.Problem{Message: fmt.Sprintf("all of it together is %d bytes, which is too much for one app; remove something, or make another app", len(value))})
	}
	return version, err
}

// me answers who asks.
func (s steering) me(r *control.Request) (any, error) {
	return map[string]any{
		"token":   map[string]any{"name": r.Token, "capabilities": []string{"write:app", "read:app", "write:key", "read:key", "write:namespace", "read:namespace", "write:rule", "read:rule", "write:limit", "read:limit"}},
		"account": map[string]any{"id": accountOfAll, "name": accountOfAll},
		"node":    s.b.node.disk.NodeID(), "cluster": s.b.store.View().ClusterID,
	}, nil
}

// shownApp is an app as operators see it.
type shownApp struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Account  string `json:"accountId"`
	Status   string `json:"status"`
	Source   string `json:"keptIn"`
	Created  int64  `json:"created,omitempty"`
	Modified int64  `json:"modified,omitempty"`
}

func (s steering) show(file *config.App, app *auth.App) shownApp {
	out := shownApp{
		ID: app.ID, Name: cmp.Or(app.Name, app.ID), Account: s.accounts()(app.ID), Status: "enabled", Source: inLog,
		Created: app.CreatedMs, Modified: app.ModifiedMs,
	}
	if file != nil {
		out.Source = inFile
	} else if app.Disabled {
		out.Status = "disabled"
	}
	return out
}

func (s steering) apps() ([]shownApp, error) {
	ids := map[string]bool{}
	for i := range s.b.node.cfg.Apps {
		ids[s.b.node.cfg.Apps[i].ID] = true
	}
	for id := range s.catalog.Load().apps {
		ids[id] = true
	}
	list := []shownApp{}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		file, app, _, err := s.look(id)
		if control.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s.show(file, &app))
	}
	return list, nil
}

func (s steering) listApps(*control.Request) (any, error) { return s.apps() }

func (s steering) listAccountApps(r *control.Request) (any, error) {
	all, err := s.apps()
	return slices.DeleteFunc(all, func(a shownApp) bool { return a.Account != r.Path("account") }), err
}

func (s steering) listAccounts(*control.Request) (any, error) {
	apps, err := s.apps()
	if err != nil {
		return nil, err
	}
	type account struct {
		ID   string   `json:"id"`
		Apps []string `json:"apps"`
	}
	by := map[string][]string{accountOfAll: {}}
	for _, a := range apps {
		by[a.Account] = append(by[a.Account], a.ID)
	}
	list := []account{}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		list = append(list, account{id, by[id]})
	}
	return list, nil
}

func (s steering) createApp(r *control.Request) (any, error) {
	in := struct {
		ID, Name *string
		Status   *string
	}{}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	account := r.Path("account")
	if text := config.CheckID(account); text != "" {
		return nil, control.Invalid(control.Problem{Field: "account", Message: fmt.Sprintf("%q is no account; %s", account, text)})
	}
	now := time.Now().UnixMilli()
	app := auth.App{AccountID: account, Managed: true, CreatedMs: now, ModifiedMs: now, Keys: []auth.AppKey{}, Namespaces: []auth.Namespace{}}
	app.ID = randomText(6)
	if in.ID != nil {
		if text := config.CheckID(*in.ID); text != "" {
			return nil, control.Invalid(control.Problem{Field: "id", Message: fmt.Sprintf("%q is no id; %s", *in.ID, text)})
		}
		app.ID = *in.ID
	}
	if err := setApp(&app, in.Name, in.Status); err != nil {
		return nil, err
	}
	if s.file(app.ID) != nil {
		return nil, control.Conflict("there is an app %q in the configuration; choose another id", app.ID)
	}
	version, err := s.swap(r.Context(), tableApps, app.ID, &app, 0)
	if errors.Is(err, raftstore.ErrExists) {
		return nil, control.Conflict("there is an app %q already; change that one, or choose another id", app.ID)
	}
	if err == nil {
		err = s.limitNewApp(r.Context(), app.ID)
	}
	if err == nil {
		err = s.spread(r.Context(), tableApps, version)
	}
	return control.Created(s.show(nil, &app)), err
}

func setApp(app *auth.App, name, status *string) error {
	if name != nil {
		if *name == "" || len(*name) > 200 {
			return control.Invalid(control.Problem{Field: "name", Message: fmt.Sprintf("%.40q has %d bytes; it must have 1 to 200", *name, len(*name))})
		}
		app.Name = *name
	}
	if status != nil {
		if *status != "enabled" && *status != "disabled" {
			return control.Invalid(control.Problem{Field: "status", Message: fmt.Sprintf("%.40q is not known; it must be enabled or disabled", *status)})
		}
		app.Disabled = *status == "disabled"
	}
	return nil
}

func (s steering) getApp(r *control.Request) (any, error) {
	file, app, _, err := s.look(r.Path("app"))
	if err != nil {
		return nil, err
	}
	return s.show(file, &app), nil
}

func (s steering) updateApp(r *control.Request) (any, error) {
	var in struct{ Name, Status *string }
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	app, err := s.change(r.Context(), r.Path("app"), func(file *config.App, app *auth.App) error {
		if file != nil {
			return readOnly("app", app.ID)
		}
		return setApp(app, in.Name, in.Status)
	})
	if err != nil {
		return nil, err
	}
	return s.show(nil, &app), nil
}

func readOnly(kind, id string) error {
	return control.Conflict("%s %q stands in the configuration and is read-only here; change it there, on all nodes, and start them again one after the other", kind, id)
}

func (s steering) deleteApp(r *control.Request) (any, error) {
	id := r.Path("app")
	if err := s.b.store.ReadIndex(r.Context()); err != nil {
		return nil, err
	}
	file, _, was, err := s.look(id)
	switch {
	case err != nil:
		return nil, err
	case file != nil:
		return nil, readOnly("app", id)
	}
	version, err := s.b.store.Swap(r.Context(), raftstore.Put{Table: tableApps, Key: id}, was, true)
	if errors.Is(err, raftstore.ErrExists) {
		return nil, control.Conflict("app %q was changed meanwhile; look at it, and try again", id)
	}
	if err == nil {
		_, err = s.b.store.Delete(r.Context(), tableLimits, string(limits.AppScope(id)))
	}
	if err == nil {
		err = s.spread(r.Context(), tableApps, version)
	}
	return control.NoContent, err
}

// Stats.

func (s steering) appStats(r *control.Request) (any, error) {
	if _, _, _, err := s.look(r.Path("app")); err != nil {
		return nil, err
	}
	return s.stats(r, meter.AppSeries(r.Path("app")), r.Path("app"))
}

func (s steering) accountStats(r *control.Request) (any, error) {
	return s.stats(r, meter.AccountSeries(r.Path("account")), "")
}

func (s steering) stats(r *control.Request, series, app string) (any, error) {
	q := meter.Query{Series: series, Limit: 100, ToMs: time.Now().UnixMilli()}
	if err := q.Read(r.Query()); err != nil {
		return nil, control.Invalid(control.Problem{Field: err.Field, Message: err.Text})
	}
	entries, _, err := s.b.metering.archive.Find(q)
	if err != nil {
		return nil, err
	}
	list := make([]meter.Flat, len(entries))
	for i := range entries {
		list[i] = entries[i].Flat(app)
	}
	return list, nil
}

// Keys.

type shownKey struct {
	ID         string              `json:"id"`
	App        string              `json:"appId"`
	Name       string              `json:"name"`
	Key        string              `json:"key,omitempty"` // with its secret
	Capability map[string][]string `json:"capability"`
	Revocable  bool                `json:"revocableTokens"`
	Status     string              `json:"status"`
	Source     string              `json:"keptIn"`
	Created    int64               `json:"created,omitempty"`
	Modified   int64               `json:"modified,omitempty"`
}

func showKey(app string, k *auth.AppKey, secret bool) shownKey {
	out := shownKey{
		ID: k.ID, App: app, Name: cmp.Or(k.Name, k.ID), Revocable: k.Revocable, Status: "enabled", Source: inLog, Created: k.CreatedMs, Modified: k.ModifiedMs,
	}
	json.Unmarshal([]byte(k.Capability), &out.Capability) // was checked
	if k.Revoked {
		out.Status = "revoked"
	}
	if secret {
		out.Key = app + "." + k.ID + ":" + k.Secret
	}
	return out
}

func (s steering) listKeys(r *control.Request) (any, error) {
	file, app, _, err := s.look(r.Path("app"))
	if err != nil {
		return nil, err
	}
	list := []shownKey{}
	if file != nil {
		for i := range file.Keys {
			list = append(list, fileKey(file, &file.Keys[i]))
		}
	}
	for i := range app.Keys {
		list = append(list, showKey(app.ID, &app.Keys[i], false))
	}
	return list, nil
}

func fileKey(app *config.App, k *config.Key) shownKey {
	id := keyID(k)
	return shownKey{ID: id, App: app.ID, Name: id, Capability: k.Capability, Revocable: k.RevocableTokens, Status: "enabled", Source: inFile}
}

func keyID(k *config.Key) string {
	name, _, _ := strings.Cut(k.Key, ":")
	_, id, _ := strings.Cut(name, ".")
	return id
}

func fileHasKey(file *config.App, id string) *config.Key {
	if file != nil {
		for i := range file.Keys {
			if keyID(&file.Keys[i]) == id {
				return &file.Keys[i]
			}
		}
	}
	return nil
}

// keyInput is what a key is made or changed by.
type keyInput struct {
	ID, Name   *string
	Capability json.RawMessage
	Revocable  *bool `json:"revocableTokens"`
}

func (in *keyInput) apply(k *auth.AppKey) error {
	if in.Name != nil {
		if *in.Name == "" || len(*in.Name) > 200 {
			return control.Invalid(control.Problem{Field: "name", Message: fmt.Sprintf("%.40q has %d bytes; it must have 1 to 200", *in.Name, len(*in.Name))})
		}
		k.Name = *in.Name
	}
	if in.Revocable != nil {
		k.Revocable = *in.Revocable
	}
	if in.Capability == nil {
		return nil
	}
	var given any
	json.Unmarshal(in.Capability, &given) // it is part of what was decoded
	capability, problems := config.ReadCapability(given)
	if len(problems) > 0 {
		return invalid(problems)
	}
	text, err := json.Marshal(capability)
	k.Capability = string(text)
	return err
}

func invalid(problems []config.Problem) error {
	var list []control.Problem
	for _, p := range problems {
		list = append(list, control.Problem{Field: p.Key, Message: p.Text, Code: p.Code})
	}
	return control.Invalid(list...)
}

// keysMax, namespacesMax and rulesMax are how many of them the log takes for one app.
const keysMax, namespacesMax, rulesMax = 100, 500, 100

func (s steering) createKey(r *control.Request) (any, error) {
	var in keyInput
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	k := auth.AppKey{ID: randomText(6), Secret: randomText(24), Capability: `{"*":["*"]}`, CreatedMs: time.Now().UnixMilli()}
	if in.ID != nil {
		if text := config.CheckID(*in.ID); text != "" {
			return nil, control.Invalid(control.Problem{Field: "id", Message: fmt.Sprintf("%q is no id; %s", *in.ID, text)})
		}
		k.ID = *in.ID
	}
	if err := in.apply(&k); err != nil {
		return nil, err
	}
	app, err := s.change(r.Context(), r.Path("app"), func(file *config.App, app *auth.App) error {
		if fileHasKey(file, k.ID) != nil || findKey(app, k.ID) != nil {
			return control.Conflict("there is a key %q already; choose another id", k.ID)
		}
		if len(app.Keys) >= keysMax {
			return control.Conflict("the app has %d keys, which is the most; delete one", len(app.Keys))
		}
		app.Keys = append(app.Keys, k)
		return nil
	})
	return control.Created(showKey(app.ID, &k, true)), err
}

func findKey(app *auth.App, id string) *auth.AppKey {
	for i := range app.Keys {
		if app.Keys[i].ID == id {
			return &app.Keys[i]
		}
	}
	return nil
}

func (s steering) getKey(r *control.Request) (any, error) {
	file, app, _, err := s.look(r.Path("app"))
	if err != nil {
		return nil, err
	}
	if k := fileHasKey(file, r.Path("key")); k != nil {
		return fileKey(file, k), nil
	}
	if k := findKey(&app, r.Path("key")); k != nil {
		return showKey(app.ID, k, true), nil
	}
	return nil, control.NotFound("key", r.Path("key"))
}

// changeKey changes one key of the log.
func (s steering) changeKey(r *control.Request, do func(app *auth.App, k *auth.AppKey) error) (auth.App, error) {
	id := r.Path("key")
	return s.change(r.Context(), r.Path("app"), func(file *config.App, app *auth.App) error {
		if fileHasKey(file, id) != nil {
			return readOnly("key", id)
		}
		k := findKey(app, id)
		if k == nil {
			return control.NotFound("key", id)
		}
		k.ModifiedMs = time.Now().UnixMilli()
		return do(app, k)
	})
}

func (s steering) updateKey(r *control.Request) (any, error) {
	var in keyInput
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.ID != nil {
		return nil, control.Invalid(control.Problem{Field: "id", Message: "cannot be changed; make another key"})
	}
	var out shownKey
	_, err := s.changeKey(r, func(app *auth.App, k *auth.AppKey) error {
		err := in.apply(k)
		out = showKey(app.ID, k, false)
		return err
	})
	return out, err
}

func (s steering) revokeKey(r *control.Request) (any, error) {
	var out shownKey
	_, err := s.changeKey(r, func(app *auth.App, k *auth.AppKey) error {
		k.Revoked = true
		out = showKey(app.ID, k, false)
		return nil
	})
	return out, err
}

func (s steering) deleteKey(r *control.Request) (any, error) {
	_, err := s.changeKey(r, func(app *auth.App, k *auth.AppKey) error {
		if rules := signedWith(app, k.ID); len(rules) > 0 {
			return control.Conflict("key %q signs what these rules send: %s; change their target.signing_key or delete them, then delete the key", k.ID, strings.Join(rules, ", "))
		}
		app.Keys = slices.DeleteFunc(app.Keys, func(one auth.AppKey) bool { return one.ID == k.ID })
		return nil
	})
	return control.NoContent, err
}

// randomText is n random bytes as letters and digits, - and _, beginning with a letter or digit.
func randomText(n int) string {
	b := make([]byte, n)
	for {
		rand.Read(b)
		if text := base64.RawURLEncoding.EncodeToString(b); text[0] != '-' && text[0] != '_' {
			return text
		}
	}
}

// decode reads JSON with whole numbers as such.
func decodeMap(b []byte) (m map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&m)
	return m, err
}
