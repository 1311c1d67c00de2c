package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// place is where a development cluster lives: the addresses between its nodes. They are part of what the nodes agreed
// on, so they are kept with the data and used again.
type place struct {
	Founders int         `json:"founders"` // nodes the cluster was founded with
	Nodes    []placeNode `json:"nodes"`
}

type placeNode struct {
	Cluster string `json:"cluster"`
	Gossip  string `json:"gossip"`
}

const placeFile = "dev.json"

// loadPlace reads where the cluster in dir lives, or finds a new place. nodes 0 means as many as there are, or 1. More
// nodes than before join the cluster; fewer are refused, since the absent ones would count as dead.
func loadPlace(dir string, nodes int, avoid map[int]bool) (*place, error) {
	path := filepath.Join(dir, placeFile)
	p := &place{}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Founders = max(nodes, 1)
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, p); err != nil || p.Founders < 1 || len(p.Nodes) < p.Founders {
			return nil, fmt.Errorf("%s is damaged; restore it, or remove the directory to begin anew", path)
		}
	}
	known := len(p.Nodes)
	if nodes == 0 {
		nodes = max(known, 1)
	}
	if nodes < known {
		return nil, fmt.Errorf("%s holds a cluster of %d nodes, which could lose its majority with %d; use --nodes %d or another --data-dir", dir, known, nodes, known)
	}
	for _, n := range p.Nodes {
		for _, addr := range []string{n.Cluster, n.Gossip} {
			if err := portFree(addr); err != nil {
				return nil, fmt.Errorf("%s, which the cluster in %s uses between its nodes, is taken: %w; stop the other process (is this cluster running already?)", addr, dir, err)
			}
		}
	}
	for len(p.Nodes) < nodes {
		c, err := findPort(avoid)
		if err != nil {
			return nil, err
		}
		g, err := findPort(avoid)
		if err != nil {
			return nil, err
		}
		p.Nodes = append(p.Nodes, placeNode{Cluster: loopback(c), Gossip: loopback(g)})
	}
	if len(p.Nodes) == known {
		return p, nil
	}
	if text, err = json.MarshalIndent(p, "", "  "); err != nil {
		return nil, err
	}
	return p, os.WriteFile(path, append(text, '\n'), 0o644)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// findPort finds a port of 127.0.0.1 that is free for TCP and UDP and below those that the system hands out to outgoing
// connections: it must be free again after a restart.
func findPort(avoid map[int]bool) (int, error) {
	for range 1000 {
		port := 10000 + rand.IntN(22000)
		if !avoid[port] && portFree(loopback(port)) == nil {
			avoid[port] = true
			return port, nil
		}
	}
	return 0, errors.New("no free port on 127.0.0.1 between 10000 and 32000; stop other processes")
}

// portFree tells whether an address can be listened on, TCP and UDP.
func portFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return p.Close()
}

// adminOffset is how far the admin port is above the client port of the same node.
const adminOffset = 100

// edge is where one node serves.
type edge struct{ client, admin string }

// edges are the addresses of n nodes from listen upwards. Port 0 picks a run of free ports.
func edges(listen string, n int) ([]edge, error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("--listen: %q is not an address; it must be host:port, such as 127.0.0.1:8080", listen)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port+adminOffset+n > 65536 {
		return nil, fmt.Errorf("--listen: the port %q cannot be used; it must be a number up to %d, for node i uses port + i and port + %d + i", text, 65536-adminOffset-n, adminOffset)
	}
	if port > 0 {
		return edgesAt(host, port, n)
	}
	for range 100 {
		if list, err := edgesAt(host, 10000+rand.IntN(22000), n); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("--listen: no run of %d free ports on %q", n, host)
}

// edgesAt checks all the ports before any node starts, so that all that are taken are told at once.
func edgesAt(host string, port, n int) ([]edge, error) {
	var list []edge
	var errs []error
	for i := range n {
		e := edge{net.JoinHostPort(host, strconv.Itoa(port+i)), net.JoinHostPort(host, strconv.Itoa(port+adminOffset+i))}
		for what, addr := range map[string]string{"clients": e.client, "admin": e.admin} {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				errs = append(errs, fmt.Errorf("cannot listen on %s, for %s of node %d: %w", addr, what, i, err))
				continue
			}
			l.Close()
		}
		list = append(list, e)
	}
	if len(errs) > 0 {
		remedy := "choose an address of this machine, and ports that this user may use, with --listen HOST:PORT"
		if err := errors.Join(errs...); errors.Is(err, syscall.EADDRINUSE) {
			remedy = "stop the process that uses the port, or choose another with --listen HOST:PORT"
		}
		errs = append(errs, errors.New(remedy+" (node i uses port + i and port + 100 + i)"))
		return nil, errors.Join(errs...)
	}
	return list, nil
}
