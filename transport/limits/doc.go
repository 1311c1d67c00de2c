// Package limits says how much an app or an account may have and do: how much is open at once, how much is done a second,
// how large things may be. A soft limit is told to whoever wants to know, a hard one refuses.
//
// # Types, in reading order
//
//   - [Set] is what an operator sets for one app or one account ([Scope]), by [Name].
//   - [Gates] answer, on one node, what is asked on every publish and request; without limits that is one atomic load.
//   - [Purse] and [Ledger] keep what is open in the whole cluster within its bound. The Ledger is the leader's: it gives
//     nodes leave, and the sum of what it gave never exceeds the limit. The Purse is a node's: it spends what it was given,
//     asks for more and hands back what it does not need.
//   - [Shares] splits a rate among the nodes by what they need of it.
//   - [Watch] says when somebody has to be told.
//
// Ledger, Shares, Bucket and Watch are pure: they are given the time and what happened. Gates and Purse are guarded by
// their own locks and start nothing.
//
// # How exact
//
// What is open at once: never more than the limit while no member dies. When one dies, as much more as it had opened since
// its last report, a second ago at most, and attachments that were waiting to be confirmed while their channel changed its
// owner are let in. What was open when a limit was lowered stays.
//
// Rates: a node may spend a second's worth at once after a pause, and its share of the rate from then on. So over any time
// t the cluster lets through no more than rate × (t + nodes), and rate × t in the long run.
package limits
