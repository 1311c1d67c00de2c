package dispatch

import "context"

// sink takes the batches of one rule during one term. send is called from several goroutines; close when none is left.
type sink interface {
	// send returns nil if the batch was accepted. It ends within the rule's timeout, or soon after ctx. Errors that it
	// can classify are failures.
	send(ctx context.Context, events []Event) error
	close()
}
