package node

import (
	"innkeeper/channel"
	"innkeeper/transport/dispatch"
)

// joints are where tests of this package stand between two rooms: each function is given what one room offers and
// returns what the other gets. All are nil in a node that serves.
type joints struct {
	registrar func(registrar) registrar
	log       func(channel.Log) channel.Log
	events    func(dispatch.EventLog) dispatch.EventLog
}

// registrar is the host as gateways reach it.
type registrar interface {
	FromGateway(gw channel.GatewayID, part uint32, epoch uint64, m channel.ToOwner) bool
}

// joined is what through makes of it.
func joined[T any](through func(T) T, it T) T {
	if through == nil {
		return it
	}
	return through(it)
}
