package rest

import (
	"context"
	"errors"
	"time"

	"innkeeper/transport/auth"
)

// Authority is what the cluster agrees on about credentials. Methods block until it did and end early with ctx; what
// Revoke, CreateApp and DeleteApp did is known to all nodes that can be reached when they return.
type Authority interface {
	// ClaimNonce says whether nobody claimed the nonce of a key before, anywhere. The claim holds until a time at least.
	ClaimNonce(ctx context.Context, keyName, nonce string, until time.Time) (bool, error)
	Revoke(ctx context.Context, list []auth.Revocation) error
	CreateApp(ctx context.Context, app *auth.App) error
	// DeleteApp is ErrNotProvisioned for an app that does not come from CreateApp.
	DeleteApp(ctx context.Context, id string) error
}

// ErrNotProvisioned refuses to delete an app that stands in the configuration.
var ErrNotProvisioned = errors.New("the app was not provisioned at run time")
