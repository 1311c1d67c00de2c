package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
	"innkeeper/transport/auth"
	"innkeeper/transport/control"
	"innkeeper/transport/dispatch"
	"innkeeper/transport/limits"
)

// Namespaces and rules have the keys that they have in the configuration file, and are checked as there.

// shownPart is a namespace or a rule as operators see it.
func shownPart(id string, about map[string]any, source string, createdMs, modifiedMs int64) map[string]any {
	about["id"], about["kept_in"] = id, source
	if createdMs != 0 {
		about["created"] = createdMs
	}
	if modifiedMs != 0 {
		about["modified"] = modifiedMs
	}
	return about
}

// settled is a part without what only the API says of it, so that what was shown can be sent back.
func settled(in map[string]any) map[string]any {
	for _, key := range []string{"kept_in", "created", "modified", "problem"} {
		delete(in, key)
	}
	return in
}

// patch changes a document as RFC 7396 says: null removes, objects are changed within.
func patch(doc, change map[string]any) map[string]any {
	if doc == nil {
		doc = map[string]any{}
	}
	for key, value := range change {
		switch value := value.(type) {
		case nil:
			delete(doc, key)
		case map[string]any:
			inner, _ := doc[key].(map[string]any)
			doc[key] = patch(inner, value)
		default:
			doc[key] = value
		}
	}
	return doc
}

// Namespaces.

func (s steering) listNamespaces(r *control.Request) (any, error) {
	file, app, _, err := s.look(r.Path("app"))
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	if file != nil {
		for _, n := range file.Namespaces {
			list = append(list, shownPart(n.ID, config.Document(n), inFile, 0, 0))
		}
	}
	for i := range app.Namespaces {
		one, err := showNamespace(&app.Namespaces[i])
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

func showNamespace(n *auth.Namespace) (map[string]any, error) {
	ns, err := namespaceOf(*n)
	return shownPart(n.ID, config.Document(ns), inLog, n.CreatedMs, n.ModifiedMs), err
}

func fileHasNamespace(file *config.App, id string) *config.Namespace {
	if file != nil {
		for i := range file.Namespaces {
			if file.Namespaces[i].ID == id {
				return &file.Namespaces[i]
			}
		}
	}
	return nil
}

func findNamespace(app *auth.App, id string) *auth.Namespace {
	for i := range app.Namespaces {
		if app.Namespaces[i].ID == id {
			return &app.Namespaces[i]
		}
	}
	return nil
}

// readNamespace checks a namespace and makes what the log keeps.
func readNamespace(app string, in map[string]any) (auth.Namespace, error) {
	ns, problems := config.ReadNamespace(config.App{ID: app}, settled(in))
	if len(problems) > 0 {
		return auth.Namespace{}, invalid(problems)
	}
	record, err := json.Marshal(config.Record(ns))
	return auth.Namespace{ID: ns.ID, Config: record}, err
}

func (s steering) createNamespace(r *control.Request) (any, error) {
	in, err := r.Map()
	if err != nil {
		return nil, err
	}
	n, err := readNamespace(r.Path("app"), in)
	if err != nil {
		return nil, err
	}
	n.CreatedMs = time.Now().UnixMilli()
	_, err = s.change(r.Context(), r.Path("app"), func(file *config.App, app *auth.App) error {
		if fileHasNamespace(file, n.ID) != nil || findNamespace(app, n.ID) != nil {
			return control.Conflict("there is a namespace %q already; change that one", n.ID)
		}
		if len(app.Namespaces) >= namespacesMax {
			return control.Conflict("the app has %d namespaces, which is the most; delete one", len(app.Namespaces))
		}
		app.Namespaces = append(app.Namespaces, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := showNamespace(&n)
	return control.Created(out), err
}

func (s steering) getNamespace(r *control.Request) (any, error) {
	file, app, _, err := s.look(r.Path("app"))
	if err != nil {
		return nil, err
	}
	id := r.Path("namespace")
	if n := fileHasNamespace(file, id); n != nil {
		return shownPart(id, config.Document(*n), inFile, 0, 0), nil
	}
	if n := findNamespace(&app, id); n != nil {
		return showNamespace(n)
	}
	return nil, control.NotFound("namespace", id)
}

func (s steering) updateNamespace(r *control.Request) (any, error) {
	change, err := r.Map()
	if err != nil {
		return nil, err
	}
	id := r.Path("namespace")
	if given, ok := change["id"]; ok && given != id {
		return nil, control.Invalid(control.Problem{Field: "id", Message: "cannot be changed; make another namespace"})
	}
	var out map[string]any
	_, err = s.change(r.Context(), r.Path("app"), func(file *config.App, app *auth.App) error {
		if fileHasNamespace(file, id) != nil {
			return readOnly("namespace", id)
		}
		n := findNamespace(app, id)
		if n == nil {
			return control.NotFound("namespace", id)
		}
		was, err := namespaceOf(*n)
		if err != nil {
			return err
		}
		next, err := readNamespace(app.ID, patch(config.Record(was), change))
		if err != nil {
			return err
		}
		next.CreatedMs, next.ModifiedMs = n.CreatedMs, time.Now().UnixMilli()
		*n = next
		out, err = showNamespace(n)
		return err
	})
	return out, err
}

func (s steering) deleteNamespace(r *control.Request) (any, error) {
	id := r.Path("namespace")
	_, err := s.change(r.Context(), r.Path("app"), func(file *config.App, app *auth.App) error {
		if fileHasNamespace(file, id) != nil {
			return readOnly("namespace", id)
		}
		if findNamespace(app, id) == nil {
			return control.NotFound("namespace", id)
		}
		app.Namespaces = slices.DeleteFunc(app.Namespaces, func(n auth.Namespace) bool { return n.ID == id })
		return nil
	})
	return control.NoContent, err
}

// Rules.

// ruleOf is a rule of the log as the configuration has it.
func ruleOf(file *config.App, app *auth.App, r *auth.Rule) (config.Rule, []config.Problem) {
	given, err := decodeMap(r.Config)
	if err != nil {
		return config.Rule{}, []config.Problem{{Key: "config", Text: err.Error()}}
	}
	return config.ReadRule(withKeys(file, app), given)
}

// withKeys is an app with all its keys, which rules may be signed with.
func withKeys(file *config.App, app *auth.App) config.App {
	out := config.App{ID: app.ID}
	if file != nil {
		out.Keys = slices.Clone(file.Keys)
	}
	for _, k := range app.Keys {
		out.Keys = append(out.Keys, config.Key{Key: app.ID + "." + k.ID + ":" + k.Secret})
	}
	return out
}

// showRule shows a rule that cannot be served as the log has it, and why.
func showRule(file *config.App, app *auth.App, r *auth.Rule) map[string]any {
	about := map[string]any{}
	if rule, problems := ruleOf(file, app, r); len(problems) == 0 {
		about = config.Document(rule)
	} else {
		if kept, err := decodeMap(r.Config); err == nil {
			about = kept
		}
		if target, ok := about["target"].(map[string]any); ok {
			delete(target, "secrets")
		}
		about["problem"] = problems[0].String()
	}
	about["enabled"] = !r.Disabled
	return shownPart(r.ID, about, inLog, r.CreatedMs, r.ModifiedMs)
}

// signedWith are the rules of an app, those that are off as well, whose requests a key signs.
func signedWith(app *auth.App, key string) (rules []string) {
	for i := range app.Rules {
		var kept struct {
			Target struct {
				Key string `json:"signing_key"`
			}
		}
		if json.Unmarshal(app.Rules[i].Config, &kept) == nil && kept.Target.Key == key {
			rules = append(rules, app.Rules[i].ID)
		}
	}
	return rules
}

func showFileRule(r config.Rule) map[string]any {
	out := shownPart(r.ID, config.Document(r), inFile, 0, 0)
	out["enabled"] = true
	return out
}

func fileHasRule(file *config.App, id string) *config.Rule {
	if file != nil {
		for i := range file.Rules {
			if file.Rules[i].ID == id {
				return &file.Rules[i]
			}
		}
	}
	return nil
}

func findRule(app *auth.App, id string) *auth.Rule {
	for i := range app.Rules {
		if app.Rules[i].ID == id {
			return &app.Rules[i]
		}
	}
	return nil
}

func (s steering) listRules(r *control.Request) (any, error) {
	file, app, _, err := s.look(r.Path("app"))
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	if file != nil {
		for _, one := range file.Rules {
			list = append(list, showFileRule(one))
		}
	}
	for i := range app.Rules {
		list = append(list, showRule(file, &app, &app.Rules[i]))
	}
	return list, nil
}

func (s steering) getRule(r *control.Request) (any, error) {
	file, app, _, err := s.look(r.Path("app"))
	if err != nil {
		return nil, err
	}
	id := r.Path("rule")
	if one := fileHasRule(file, id); one != nil {
		return showFileRule(*one), nil
	}
	if one := findRule(&app, id); one != nil {
		return showRule(file, &app, one), nil
	}
	return nil, control.NotFound("rule", id)
}

// readRule checks a rule and makes what the log keeps.
func (s steering) readRule(file *config.App, app *auth.App, in map[string]any) (auth.Rule, error) {
	enabled := true
	if given, ok := in["enabled"]; ok {
		if enabled, ok = given.(bool); !ok {
			return auth.Rule{}, control.Invalid(control.Problem{Field: "enabled", Message: fmt.Sprintf("is %v; it must be true or false", given)})
		}
		delete(in, "enabled")
	}
	rule, problems := config.ReadRule(withKeys(file, app), settled(in))
	if len(problems) > 0 {
		return auth.Rule{}, invalid(problems)
	}
	record, err := json.Marshal(config.Record(rule))
	return auth.Rule{ID: rule.ID, Disabled: !enabled, Config: record}, err
}

func (s steering) createRule(r *control.Request) (any, error) {
	in, err := r.Map()
	if err != nil {
		return nil, err
	}
	if _, ok := in["id"]; !ok {
		in["id"] = randomText(6)
	}
	var out map[string]any
	_, err = s.change(r.Context(), r.Path("app"), func(file *config.App, app *auth.App) error {
		next, err := s.readRule(file, app, patch(nil, in))
		if err != nil {
			return err
		}
		if fileHasRule(file, next.ID) != nil || findRule(app, next.ID) != nil {
			return control.Conflict("there is a rule %q already; change that one, or choose another id", next.ID)
		}
		if len(app.Rules) >= rulesMax {
			return control.Conflict("the app has %d rules, which is the most; delete one", len(app.Rules))
		}
		next.CreatedMs, next.After = time.Now().UnixMilli(), s.b.store.View().LastSeq
		app.Rules = append(app.Rules, next)
		out = showRule(file, app, &next)
		return nil
	})
	return control.Created(out), err
}

func (s steering) updateRule(r *control.Request) (any, error) {
	change, err := r.Map()
	if err != nil {
		return nil, err
	}
	id := r.Path("rule")
	if given, ok := change["id"]; ok && given != id {
		return nil, control.Invalid(control.Problem{Field: "id", Message: "cannot be changed, since the rule's place in the events goes by it; make another rule"})
	}
	var out map[string]any
	_, err = s.change(r.Context(), r.Path("app"), func(file *config.App, app *auth.App) error {
		if fileHasRule(file, id) != nil {
			return readOnly("rule", id)
		}
		one := findRule(app, id)
		if one == nil {
			return control.NotFound("rule", id)
		}
		doc, err := decodeMap(one.Config) // need not be a rule that can be served: the change may be what mends it
		if err != nil {
			return err
		}
		doc["enabled"] = !one.Disabled
		next, err := s.readRule(file, app, patch(doc, change))
		if err != nil {
			return err
		}
		next.CreatedMs, next.ModifiedMs = one.CreatedMs, time.Now().UnixMilli()
		s.followOn(app.ID, one, &next)
		*one = next
		out = showRule(file, app, one)
		return nil
	})
	return out, err
}

// followOn says where in the events a rule goes on that was changed. Switched off, it loses its cursor; switched on again, it
// begins with what comes and its sink is told what it missed.
func (s steering) followOn(app string, was, is *auth.Rule) {
	is.After, is.GapFrom = was.After, was.GapFrom
	switch off, on := !followsEvents(was), followsEvents(is); {
	case !off && !on:
		cursor, ok := s.b.store.Cursors()[app+"/"+is.ID]
		if !ok {
			cursor = was.After
		}
		if was.GapFrom == 0 || cursor > was.After { // if not, it was not even told of the gap before
			is.GapFrom = cursor + 1
		}
	case off && on:
		is.After = s.b.store.View().LastSeq
		if is.GapFrom > is.After {
			is.GapFrom = 0
		}
	}
}

// followsEvents says whether a rule is sent from the log of events, where it has a cursor.
func followsEvents(r *auth.Rule) bool {
	var kept struct {
		Source string `json:"source"`
	}
	return !r.Disabled && json.Unmarshal(r.Config, &kept) == nil && !dispatch.IsTap(kept.Source)
}

func (s steering) deleteRule(r *control.Request) (any, error) {
	id := r.Path("rule")
	_, err := s.change(r.Context(), r.Path("app"), func(file *config.App, app *auth.App) error {
		if fileHasRule(file, id) != nil {
			return readOnly("rule", id)
		}
		if findRule(app, id) == nil {
			return control.NotFound("rule", id)
		}
		app.Rules = slices.DeleteFunc(app.Rules, func(one auth.Rule) bool { return one.ID == id })
		return nil
	})
	return control.NoContent, err
}

// Limits.

func (s steering) appScope(r *control.Request) (limits.Scope, error) {
	_, _, _, err := s.look(r.Path("app"))
	return limits.AppScope(r.Path("app")), err
}

func (s steering) accountScope(r *control.Request) (limits.Scope, error) {
	id := r.Path("account")
	if text := config.CheckID(id); text != "" {
		return "", control.Invalid(control.Problem{Field: "account", Message: fmt.Sprintf("%q is no account; %s", id, text)})
	}
	return limits.AccountScope(id), nil
}

// shownLimits are the limits of one scope and how much of them is used.
type shownLimits struct {
	Scope  string                 `json:"scope"` // app or account
	ID     string                 `json:"id"`
	Limits limits.Set             `json:"limits"`
	Now    map[string]limitsUsage `json:"now"`
}

// limitsUsage is how one limit stands. Value is of the whole cluster, a second ago.
type limitsUsage struct {
	Value   int64  `json:"value"`
	Level   string `json:"level"` // calm, approaching or exceeded
	SinceMs int64  `json:"since_ms,omitempty"`
}

func (s steering) showLimits(scope limits.Scope, set limits.Set) shownLimits {
	out := shownLimits{Scope: scope.Kind(), ID: scope.ID(), Limits: set, Now: map[string]limitsUsage{}}
	for n := range limits.NumNames {
		if set[n] != (limits.Limit{}) {
			out.Now[n.String()] = s.b.limiting.usage(limits.Key{Scope: scope, Name: n})
		}
	}
	return out
}

func (s steering) readLimits(scope limits.Scope) (set limits.Set, version uint64, err error) {
	row, ok := s.b.store.Row(tableLimits, string(scope))
	if !ok {
		return set, 0, nil
	}
	return set, row.Version, json.Unmarshal(row.Value, &set)
}

func (s steering) listLimits(*control.Request) (any, error) {
	list := []shownLimits{}
	rows, _ := s.b.store.Rows(tableLimits)
	for _, row := range rows {
		scope := limits.Scope(row.Key)
		set, _, err := s.readLimits(scope)
		if err != nil {
			return nil, err
		}
		list = append(list, s.showLimits(scope, set))
	}
	return list, nil
}

func (s steering) getLimits(r *control.Request, of func(*control.Request) (limits.Scope, error)) (any, error) {
	scope, err := of(r)
	if err != nil {
		return nil, err
	}
	set, _, err := s.readLimits(scope)
	return s.showLimits(scope, set), err
}

func (s steering) updateLimits(r *control.Request, of func(*control.Request) (limits.Scope, error)) (any, error) {
	scope, err := of(r)
	if err != nil {
		return nil, err
	}
	for range changeTries {
		if err := s.b.store.ReadIndex(r.Context()); err != nil {
			return nil, err
		}
		set, was, err := s.readLimits(scope)
		if err != nil {
			return nil, err
		}
		change, err := r.Map()
		if err != nil {
			return nil, err
		}
		if set, err = set.Patch(change); err != nil {
			if p, ok := limits.AsProblem(err); ok {
				return nil, control.Invalid(control.Problem{Field: p.Field, Message: p.Text})
			}
			return nil, err
		}
		version, err := s.swap(r.Context(), tableLimits, string(scope), set, was)
		if errors.Is(err, raftstore.ErrExists) {
			continue
		}
		if err == nil {
			err = s.spread(r.Context(), tableLimits, version)
		}
		return s.showLimits(scope, set), err
	}
	return nil, control.Conflict("the limits are being changed by others all the time; try again")
}

func (s steering) deleteLimits(r *control.Request, of func(*control.Request) (limits.Scope, error)) (any, error) {
	scope, err := of(r)
	if err != nil {
		return nil, err
	}
	version, err := s.b.store.Delete(r.Context(), tableLimits, string(scope))
	if err == nil {
		err = s.spread(r.Context(), tableLimits, version)
	}
	return control.NoContent, err
}
