// Package cmd holds the programs; this test holds the shape of the whole: which room may know which.
package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "innkeeper/"

// rooms says what each room may import of ours, and why no more. A room's own leaves (room/leaf) are part of it, unless
// they have a line of their own; its tests obey the same rule.
var rooms = []struct {
	room  string
	may   []string
	since string
}{
	{"actor", nil, "mailboxes carry anything and know nothing: not what a channel is, not that there is a network"},
	{"channel", []string{"actor", "cluster/ring"}, "what a channel does is decided without sockets, Raft or gossip, so that it can be tested with plain calls"},
	{"cluster/ring", nil, "placement is a pure function that every node must compute alike"},
	{"cluster", []string{"actor", "cluster/ring"}, "it moves partitions and bytes, never channels"},
	{"raftstore", []string{"cluster/ring"}, "the log knows members, partitions and events, not who sends them where"},
	{"transport", []string{"channel", "cluster/ring"}, "the edge speaks to owners through an interface; it never sees gossip or Raft"},
	{"cmd", []string{"actor", "channel", "cluster", "cluster/ring", "raftstore", "transport"}, "it builds everything from its parts"},
}

// homes are the rooms that alone use a module, outside of tests.
var homes = []struct {
	path  string
	rooms []string
	since string
}{
	{"github.com/hashicorp/memberlist", []string{"cluster"}, "gossip suggests, the log decides: nobody else may act on gossip"},
	{"github.com/hashicorp/raft", []string{"raftstore"}, "futures, timeouts and leadership have traps that one room knows"},
	{"go.etcd.io/bbolt", []string{"raftstore"}, "what is on disk is the log's"},
	{"github.com/coder/websocket", []string{"transport", "cmd/chaos", "cmd/sim"}, "sockets of a node are written to by one guarded writer; the tools are its clients"},
	{"github.com/vmihailenco/msgpack", []string{"transport", "channel", "cluster", "raftstore"}, "codecs only"},
	{"github.com/prometheus", []string{"transport/admin", "cmd/node"}, "rooms keep plain counters; what exports them is decided where they are joined"},
	{"github.com/knadh/koanf", []string{"cmd/node/config"}, "settings have one source"},
	{"github.com/alecthomas/kong", []string{"cmd/innkeeper", "cmd/bench", "cmd/chaos", "cmd/simulate"}, "command lines belong to programs"},
}

// keeper is the package that only keeps modules in go.mod.
const keeper = "cmd/zz"

// pkg is what go list says of a package.
type pkg struct {
	Dir, ImportPath                    string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=Dir,ImportPath,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, e.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// within tells whether a path is a package or below it.
func within(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

// roomOf is the line of rooms for a package: the longest that it is within, -1 for none.
func roomOf(path string) int {
	best := -1
	for i, r := range rooms {
		if within(path, r.room) && (best < 0 || len(r.room) > len(rooms[best].room)) {
			best = i
		}
	}
	return best
}

func TestRoomsKnowOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		from := roomOf(path)
		if from < 0 {
			t.Errorf("%s belongs to no room; the rooms are in this file", path)
			continue
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			ours, ok := strings.CutPrefix(imported, module)
			if !ok {
				continue
			}
			if to := roomOf(ours); to != from && (to < 0 || !slices.Contains(rooms[from].may, rooms[to].room)) {
				t.Errorf("%s imports %s; %s may import %s of ours, since %s", path, ours, rooms[from].room, list(rooms[from].may), rooms[from].since)
			}
		}
	}
}

func TestModulesHaveOneHome(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if path == keeper {
			continue
		}
		for _, imported := range p.Imports {
			for _, h := range homes {
				if within(imported, h.path) && !slices.ContainsFunc(h.rooms, func(room string) bool { return within(path, room) }) {
					t.Errorf("%s imports %s, which only %s may, since %s", path, imported, list(h.rooms), h.since)
				}
			}
			if first, _, _ := strings.Cut(imported, "/"); path == "actor" && strings.Contains(first, ".") {
				t.Errorf("actor imports %s; it needs the standard library only", imported)
			}
		}
	}
}

// calls are what a room below cmd must leave to cmd.
var calls = map[string]string{
	"net.Listen":              "a room is given its listeners, so that whole clusters run on an in-memory network",
	"net.ListenPacket":        "a room is given its listeners, so that whole clusters run on an in-memory network",
	"net.ListenTCP":           "a room is given its listeners, so that whole clusters run on an in-memory network",
	"net.ListenUDP":           "a room is given its listeners, so that whole clusters run on an in-memory network",
	"net.Dial":                "a room is given a way to dial, so that whole clusters run on an in-memory network",
	"net.DialTimeout":         "a room is given a way to dial, so that whole clusters run on an in-memory network",
	"http.ListenAndServe":     "a room is given its listeners, so that whole clusters run on an in-memory network",
	"os.Exit":                 "a node ends by returning an error: it may be one of several in a process",
	"log.Fatal":               "a node ends by returning an error: it may be one of several in a process",
	"log.Fatalf":              "a node ends by returning an error: it may be one of several in a process",
	"slog.SetDefault":         "the logger is handed down: several nodes share a process",
	"signal.Notify":           "signals belong to programs",
	"signal.NotifyContext":    "signals belong to programs",
	"flag.Parse":              "flags belong to programs",
	"prometheus.Register":     "metrics are registered where rooms are joined: several nodes share a process",
	"prometheus.MustRegister": "metrics are registered where rooms are joined: several nodes share a process",
}

func TestRoomsLeaveTheProcessToCmd(t *testing.T) {
	for _, p := range packages(t) {
		if path := strings.TrimPrefix(p.ImportPath, module); within(path, "cmd") {
			continue
		}
		for _, file := range p.GoFiles {
			found, err := forbidden(filepath.Join(p.Dir, file), nil)
			if err != nil {
				t.Error(err)
			}
			for _, f := range found {
				t.Error(f)
			}
		}
	}
}

// forbidden lists the calls in a file that only cmd may make. src is the text, nil to read the file.
func forbidden(file string, src any) (found []string, err error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	names := map[string]string{} // as the file calls a package → the last element of its path
	for _, spec := range tree.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			names[spec.Name.Name] = name
		} else {
			names[name] = name
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && names[id.Name] != "" {
				call := names[id.Name] + "." + sel.Sel.Name
				if why, bad := calls[call]; bad {
					found = append(found, fmt.Sprintf("%s uses %s, but %s", fset.Position(sel.Pos()), call, why))
				}
			}
		}
		return true
	})
	return found, nil
}

// TestTheScanSees keeps the scan honest: a test that finds nothing anywhere proves nothing.
func TestTheScanSees(t *testing.T) {
	found, err := forbidden("x.go", `package x
import ("net"; system "os"; "log/slog")
type thing struct{}
func (thing) Listen() {}
func f(os thing) { net.Listen("tcp", ""); system.Exit(1); os.Listen(); slog.SetDefault(nil) }
`)
	if err != nil || len(found) != 3 {
		t.Errorf("found %q, %v; want net.Listen, os.Exit and slog.SetDefault", found, err)
	}
	if roomOf("cluster/ring") == roomOf("cluster") || roomOf("cluster/links") != roomOf("cluster") || roomOf("clusters") >= 0 {
		t.Error("packages are assigned to the wrong rooms")
	}
}

func list(paths []string) string {
	if len(paths) == 0 {
		return "nothing"
	}
	return strings.Join(paths, ", ")
}
