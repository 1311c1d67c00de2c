package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
)

// controlFlags are what commands take that use the control API.
type controlFlags struct {
	operatorFlags
	JSON bool `name:"json" help:"Show the node's answer as it is."`
}

// steer makes a request to the control API and returns the body of a good answer.
func (f controlFlags) steer(w world, method string, body any, path ...string) ([]byte, error) {
	base, err := baseURL("admin", f.Admin)
	if err != nil {
		return nil, err
	}
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	ctx, cancel := w.untilSignal()
	defer cancel()
	ctx, cancelTimeout := context.WithTimeout(ctx, apiTimeout)
	defer cancelTimeout()
	escaped := make([]string, len(path))
	for i, p := range path {
		escaped[i] = url.PathEscape(p)
	}
	r, err := http.NewRequestWithContext(ctx, method, base.JoinPath(append([]string{"v1"}, escaped...)...).String(), content)
	if err != nil {
		return nil, err
	}
	if content != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := do(r, f.token(w))
	if err == nil && (resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusNoContent) {
		resp.StatusCode = http.StatusOK
	}
	return answerOf(resp, err)
}

// column is one column of a table: its head and the path of its value.
type column struct{ head, path string }

// table shows a list of objects, or one object as a list of one.
func (f controlFlags) table(w world, body []byte, columns []column) error {
	if f.JSON {
		_, err := w.stdout.Write(body)
		return err
	}
	var list []map[string]any
	if err := json.Unmarshal(body, &list); err != nil {
		var one map[string]any
		if err := json.Unmarshal(body, &one); err != nil {
			return fmt.Errorf("%s answers something else than a node of this version: %w; is it the admin address?", f.Admin, err)
		}
		list = []map[string]any{one}
	}
	out := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for i, c := range columns {
		fmt.Fprint(out, map[bool]string{true: "\t"}[i > 0], c.head)
	}
	fmt.Fprintln(out)
	for _, item := range list {
		for i, c := range columns {
			fmt.Fprint(out, map[bool]string{true: "\t"}[i > 0], cell(item, c.path))
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// cell is the value at a dotted path, as text.
func cell(item map[string]any, path string) string {
	var v any = item
	for part := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[part]
	}
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		return orDash(printable(v))
	case map[string]any, []any:
		b, _ := json.Marshal(v)
		return string(b) // escapes what would do things to a terminal
	}
	return fmt.Sprint(v)
}

// keyValues reads KEY=VALUE, where a key may be a path such as target.url and a value that is JSON is taken as such. An empty
// value is null: it removes what was set.
func keyValues(list []string) (map[string]any, error) {
	out := map[string]any{}
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, &exitError{exitUsage, fmt.Errorf("%q is not of the form KEY=VALUE", text)}
		}
		var v any
		switch {
		case value == "":
		case json.Unmarshal([]byte(value), &v) != nil:
			v = value
		}
		at, parts := out, strings.Split(key, ".")
		for _, part := range parts[:len(parts)-1] {
			inner, ok := at[part].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[part] = inner
			}
			at = inner
		}
		at[parts[len(parts)-1]] = v
	}
	return out, nil
}

// present leaves out what was not given.
func present(fields map[string]*string) map[string]any {
	out := map[string]any{}
	for key, value := range fields {
		if value != nil {
			out[key] = *value
		}
	}
	return out
}

// deleted says that something is gone.
func deleted(w world, what string, err error) error {
	if err == nil {
		fmt.Fprintf(w.stdout, "%s is deleted\n", what)
	}
	return err
}

// show makes a request and shows the answer.
func (f controlFlags) show(w world, columns []column, method string, body any, path ...string) error {
	answer, err := f.steer(w, method, body, path...)
	if err != nil {
		return err
	}
	return f.table(w, answer, columns)
}

// Apps.

type appsCmd struct {
	List   appsListCmd   `cmd:"" help:"List the apps."`
	Get    appsGetCmd    `cmd:"" help:"Show an app."`
	Create appsCreateCmd `cmd:"" help:"Make an app."`
	Update appsUpdateCmd `cmd:"" help:"Change an app: its name, or whether it lets anybody in."`
	Delete appsDeleteCmd `cmd:"" help:"Delete an app, with its keys, namespaces, rules and limits."`
}

var appColumns = []column{{"APP", "id"}, {"NAME", "name"}, {"ACCOUNT", "accountId"}, {"STATUS", "status"}, {"KEPT IN", "keptIn"}}

type appsListCmd struct {
	controlFlags
	Account string `placeholder:"ID" help:"Only those of this account."`
}

// Run lists apps.
func (c appsListCmd) Run(w world) error {
	if c.Account != "" {
		return c.show(w, appColumns, "GET", nil, "accounts", c.Account, "apps")
	}
	return c.show(w, appColumns, "GET", nil, "apps")
}

type appsGetCmd struct {
	controlFlags
	App string `arg:"" help:"Id of the app."`
}

// Run shows an app.
func (c appsGetCmd) Run(w world) error { return c.show(w, appColumns, "GET", nil, "apps", c.App) }

type appsCreateCmd struct {
	controlFlags
	ID      *string `arg:"" optional:"" help:"Id of the app; drawn when left out."`
	Name    *string `placeholder:"TEXT" help:"Name for people."`
	Account string  `default:"default" placeholder:"ID" help:"Account: its apps are metered and limited together. Default: ${default}."`
}

func (appsCreateCmd) Help() string {
	return `The app has no key yet; make one with: innkeeper keys create APP

Example:
  innkeeper apps create shop --name "Shop"`
}

// Run makes an app.
func (c appsCreateCmd) Run(w world) error {
	return c.show(w, appColumns, "POST", present(map[string]*string{"id": c.ID, "name": c.Name}), "accounts", c.Account, "apps")
}

type appsUpdateCmd struct {
	controlFlags
	App    string  `arg:"" help:"Id of the app."`
	Name   *string `placeholder:"TEXT" help:"Name for people."`
	Status *string `placeholder:"STATUS" help:"enabled or disabled: a disabled app lets nobody in, and its rules rest."`
}

// Run changes an app.
func (c appsUpdateCmd) Run(w world) error {
	return c.show(w, appColumns, "PATCH", present(map[string]*string{"name": c.Name, "status": c.Status}), "apps", c.App)
}

type appsDeleteCmd struct {
	controlFlags
	App string `arg:"" help:"Id of the app."`
}

// Run deletes an app.
func (c appsDeleteCmd) Run(w world) error {
	_, err := c.steer(w, "DELETE", nil, "apps", c.App)
	return deleted(w, "app "+c.App, err)
}

// Keys.

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List the keys of an app."`
	Get    keysGetCmd    `cmd:"" help:"Show a key, with its secret where it is kept in the log."`
	Create keysCreateCmd `cmd:"" help:"Make a key and show it."`
	Update keysUpdateCmd `cmd:"" help:"Change a key."`
	Revoke keysRevokeCmd `cmd:"" help:"Let nobody in with a key any more, and end the connections that came with it."`
	Delete keysDeleteCmd `cmd:"" help:"Delete a key; as revoke, and nothing is kept of it."`
}

var keyColumns = []column{{"KEY", "id"}, {"NAME", "name"}, {"STATUS", "status"}, {"REVOCABLE TOKENS", "revocableTokens"}, {"KEPT IN", "keptIn"}, {"CAPABILITY", "capability"}}

type keyArgs struct {
	controlFlags
	App string `arg:"" help:"Id of the app."`
	Key string `arg:"" help:"Id of the key: what stands between dot and colon."`
}

func (c keyArgs) path(more ...string) []string {
	return append([]string{"apps", c.App, "keys", c.Key}, more...)
}

type keysListCmd struct {
	controlFlags
	App string `arg:"" help:"Id of the app."`
}

// Run lists keys.
func (c keysListCmd) Run(w world) error {
	return c.show(w, keyColumns, "GET", nil, "apps", c.App, "keys")
}

type keysGetCmd struct{ keyArgs }

// Run shows a key.
func (c keysGetCmd) Run(w world) error {
	return c.show(w, append([]column{{"SECRET", "key"}}, keyColumns...), "GET", nil, c.path()...)
}

type keyChange struct {
	Name       *string `placeholder:"TEXT" help:"Name for people."`
	Capability string  `placeholder:"JSON" help:"What it may do, such as '{\"chat:*\":[\"subscribe\",\"publish\"]}'. Default of a new key: everything on all ordinary channels."`
	Revocable  *bool   `negatable:"" help:"Tokens of the key can be revoked, and live for an hour at most."`
}

func (c keyChange) body() (map[string]any, error) {
	body := present(map[string]*string{"name": c.Name})
	if c.Capability != "" {
		if !json.Valid([]byte(c.Capability)) {
			return nil, &exitError{exitUsage, fmt.Errorf(`--capability: %.60q is not JSON; write it like '{"*":["subscribe"]}'`, c.Capability)}
		}
		body["capability"] = json.RawMessage(c.Capability)
	}
	if c.Revocable != nil {
		body["revocableTokens"] = *c.Revocable
	}
	return body, nil
}

type keysCreateCmd struct {
	controlFlags
	App string  `arg:"" help:"Id of the app."`
	ID  *string `placeholder:"ID" help:"Id of the key; drawn when left out."`
	keyChange
}

// Run makes a key.
func (c keysCreateCmd) Run(w world) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	if c.ID != nil {
		body["id"] = *c.ID
	}
	return c.show(w, append([]column{{"SECRET", "key"}}, keyColumns...), "POST", body, "apps", c.App, "keys")
}

type keysUpdateCmd struct {
	keyArgs
	keyChange
}

// Run changes a key.
func (c keysUpdateCmd) Run(w world) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	return c.show(w, keyColumns, "PATCH", body, c.path()...)
}

type keysRevokeCmd struct{ keyArgs }

// Run revokes a key.
func (c keysRevokeCmd) Run(w world) error {
	return c.show(w, keyColumns, "POST", map[string]any{}, c.path("revoke")...)
}

type keysDeleteCmd struct{ keyArgs }

// Run deletes a key.
func (c keysDeleteCmd) Run(w world) error {
	_, err := c.steer(w, "DELETE", nil, c.path()...)
	return deleted(w, "key "+c.App+"."+c.Key, err)
}

// Namespaces and rules.

const partHelp = `Settings have the names that they have in the configuration file (docs/innkeeper.yaml), dots between them; an empty value goes back to the default. What stands in the configuration file is shown, and changed there.`

type namespacesCmd struct {
	List   partsListCmd   `cmd:"" help:"List the namespaces of an app."`
	Get    partGetCmd     `cmd:"" help:"Show a namespace."`
	Create partsCreateCmd `cmd:"" help:"Make a namespace, such as: innkeeper namespaces create demo chat vacated_delay=2s"`
	Update partUpdateCmd  `cmd:"" help:"Change a namespace. Channels that are open go on with it."`
	Delete partDeleteCmd  `cmd:"" help:"Delete a namespace."`
}

type rulesCmd struct {
	List   partsListCmd   `cmd:"" help:"List the rules of an app. How far they are is shown by: innkeeper cluster rules"`
	Get    partGetCmd     `cmd:"" help:"Show a rule."`
	Create partsCreateCmd `cmd:"" help:"Make a rule, such as: innkeeper rules create demo state source=channel.state target.url=http://127.0.0.1:9000/events"`
	Update partUpdateCmd  `cmd:"" help:"Change a rule, such as: innkeeper rules update demo state enabled=false"`
	Delete partDeleteCmd  `cmd:"" help:"Delete a rule. What its target has not accepted is not sent any more."`
}

// kind is namespaces or rules, by the command that was called.
type kind string

func (k kind) columns() []column {
	if k == "rules" {
		return []column{{"RULE", "id"}, {"SOURCE", "source"}, {"CHANNELS", "channels"}, {"ENABLED", "enabled"}, {"KEPT IN", "kept_in"}, {"FORMAT", "target.format"}, {"TARGET", "target.url"}}
	}
	return []column{{"NAMESPACE", "id"}, {"OCCUPIED BY", "occupied_by"}, {"VACATED DELAY", "vacated_delay"}, {"PRESENCE MEMBERS", "presence_members"}, {"KEPT IN", "kept_in"}}
}

type partsListCmd struct {
	controlFlags
	App string `arg:"" help:"Id of the app."`
}

// Run lists them.
func (c partsListCmd) Run(w world, k kind) error {
	return c.show(w, k.columns(), "GET", nil, "apps", c.App, string(k))
}

type partArgs struct {
	controlFlags
	App string `arg:"" help:"Id of the app."`
	ID  string `arg:"" help:"Its id."`
}

type partGetCmd struct{ partArgs }

// Run shows one.
func (c partGetCmd) Run(w world, k kind) error {
	return c.show(w, k.columns(), "GET", nil, "apps", c.App, string(k), c.ID)
}

type partsCreateCmd struct {
	partArgs
	Set []string `arg:"" optional:"" name:"key=value" help:"Settings."`
}

func (partsCreateCmd) Help() string { return partHelp }

// Run makes one.
func (c partsCreateCmd) Run(w world, k kind) error {
	body, err := keyValues(c.Set)
	if err != nil {
		return err
	}
	body["id"] = c.ID
	return c.show(w, k.columns(), "POST", body, "apps", c.App, string(k))
}

type partUpdateCmd struct {
	partArgs
	Set []string `arg:"" name:"key=value" help:"Settings."`
}

func (partUpdateCmd) Help() string { return partHelp }

// Run changes one.
func (c partUpdateCmd) Run(w world, k kind) error {
	body, err := keyValues(c.Set)
	if err != nil {
		return err
	}
	return c.show(w, k.columns(), "PATCH", body, "apps", c.App, string(k), c.ID)
}

type partDeleteCmd struct{ partArgs }

// Run deletes one.
func (c partDeleteCmd) Run(w world, k kind) error {
	_, err := c.steer(w, "DELETE", nil, "apps", c.App, string(k), c.ID)
	return deleted(w, c.ID, err)
}

// Limits.

type limitsCmd struct {
	List   limitsListCmd   `cmd:"" help:"List all limits, and how they stand."`
	Get    limitsGetCmd    `cmd:"" help:"Show the limits of an app or account."`
	Update limitsUpdateCmd `cmd:"" help:"Set limits, such as: innkeeper limits update app/demo channels.hard=10000 channels.soft=8000"`
	Delete limitsDeleteCmd `cmd:"" help:"Remove all limits of an app or account."`
}

const limitsHelp = `SCOPE is app/ID or account/ID. Limits are channels and connections (at once), channelRate, connectionRate, messageRate and apiRequestRate (per second, of all together), channelMessageRate, connectionInRate and connectionOutRate (messages per second of one channel or connection), presenceMembers (of one channel) and messageSize (bytes). Each has .hard, beyond which is refused, and those of all together .soft, where rules with the source "limits" are told. An empty value removes it.`

// shownLimits is the answer about a scope.
type shownLimits struct {
	Scope, ID string
	Limits    map[string]struct{ Soft, Hard int64 }
	Now       map[string]struct {
		Value int64
		Level string
	}
}

// showLimits draws one line for each limit.
func (f controlFlags) showLimits(w world, body []byte, err error) error {
	if err != nil {
		return err
	}
	if f.JSON {
		_, err := w.stdout.Write(body)
		return err
	}
	var list []shownLimits
	if json.Unmarshal(body, &list) != nil {
		list = make([]shownLimits, 1)
		if err := json.Unmarshal(body, &list[0]); err != nil {
			return fmt.Errorf("%s answers something else than a node of this version: %w; is it the admin address?", f.Admin, err)
		}
	}
	out := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "SCOPE\tLIMIT\tNOW\tSOFT\tHARD\tLEVEL")
	none := func(n int64) string {
		if n == 0 {
			return "-"
		}
		return fmt.Sprint(n)
	}
	for _, l := range list {
		names := make([]string, 0, len(l.Limits))
		for name := range l.Limits {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(out, "%s/%s\t%s\t%d\t%s\t%s\t%s\n", l.Scope, l.ID, name, l.Now[name].Value, none(l.Limits[name].Soft), none(l.Limits[name].Hard), l.Now[name].Level)
		}
	}
	return out.Flush()
}

// scopePath is where the limits of app/ID or account/ID are.
func scopePath(scope string) ([]string, error) {
	what, id, _ := strings.Cut(scope, "/")
	if id == "" || what != "app" && what != "account" {
		return nil, &exitError{exitUsage, errors.New("the scope must be app/ID or account/ID, such as app/demo")}
	}
	return []string{what + "s", id, "limits"}, nil
}

type limitsListCmd struct{ controlFlags }

// Run lists limits.
func (c limitsListCmd) Run(w world) error {
	body, err := c.steer(w, "GET", nil, "limits")
	return c.showLimits(w, body, err)
}

type limitsGetCmd struct {
	controlFlags
	Scope string `arg:"" help:"app/ID or account/ID."`
}

// Run shows the limits of a scope.
func (c limitsGetCmd) Run(w world) error {
	path, err := scopePath(c.Scope)
	if err != nil {
		return err
	}
	body, err := c.steer(w, "GET", nil, path...)
	return c.showLimits(w, body, err)
}

type limitsUpdateCmd struct {
	controlFlags
	Scope string   `arg:"" help:"app/ID or account/ID."`
	Set   []string `arg:"" name:"limit=number" help:"Limits, such as channels.hard=10000."`
}

func (limitsUpdateCmd) Help() string { return limitsHelp }

// Run changes limits.
func (c limitsUpdateCmd) Run(w world) error {
	path, err := scopePath(c.Scope)
	if err != nil {
		return err
	}
	change, err := keyValues(c.Set)
	if err != nil {
		return err
	}
	body, err := c.steer(w, "PATCH", change, path...)
	return c.showLimits(w, body, err)
}

type limitsDeleteCmd struct {
	controlFlags
	Scope string `arg:"" help:"app/ID or account/ID."`
}

// Run removes the limits of a scope.
func (c limitsDeleteCmd) Run(w world) error {
	path, err := scopePath(c.Scope)
	if err != nil {
		return err
	}
	_, err = c.steer(w, "DELETE", nil, path...)
	return deleted(w, "what limits "+c.Scope, err)
}
