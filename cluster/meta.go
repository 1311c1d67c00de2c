package cluster

// meta is what a boot tells about itself by gossip, 512 bytes at most.
type meta struct {
	version             byte   // protocolVersion
	cluster             string // id of its cluster, "" while it has none
	hasState            bool   // it belongs to a Raft group
	expect              int    // nodes that it wants to found a cluster with
	addr, client, admin string // addresses
}

func appendMeta(dst []byte, m meta) []byte {
	dst = append(dst, m.version)
	dst = appendString(dst, m.cluster)
	dst = appendBool(dst, m.hasState)
	dst = append(dst, byte(m.expect))
	dst = appendString(dst, m.addr)
	dst = appendString(dst, m.client)
	return appendString(dst, m.admin)
}

// decodeMeta reads metadata. Of another version it knows the version only.
func decodeMeta(b []byte) (meta, error) {
	r := wireReader{b: b}
	m := meta{version: r.byte()}
	if r.err == nil && m.version != protocolVersion {
		return m, nil
	}
	m.cluster = r.string(idMax)
	m.hasState = r.bool()
	m.expect = int(r.byte())
	m.addr, m.client, m.admin = r.string(idMax), r.string(idMax), r.string(idMax)
	if err := r.end(); err != nil {
		return meta{}, err
	}
	return m, nil
}
