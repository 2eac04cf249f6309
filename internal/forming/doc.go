// Package forming is how a node finds its cluster: it founds one together with the
// nodes that controller.quorum.bootstrap.servers lists, takes its part in a founding
// that was decided while it was away, or joins a cluster that exists; and how a cluster
// gets its voters by itself (Voters).
//
// Machine and Voters are step functions: events in, actions out. They hold no clock, no
// socket, no file and no goroutine; whoever drives them carries out the actions.
//
// # Founding
//
// Terms. A listed address is a slot. A slot is held by one directory at a time: when
// another directory answers there, the former is gone for good (wiped, or thrown away).
// A founding is a cluster id and an identity (node id, directory id, address) for every
// slot. A node begins a founding when it creates its metadata log with it; a node that
// has a log begins nothing else, ever. All nodes that take part have the same list:
// a founding is refused by a node whose list is another one.
//
// Safety. Two logs with different foundings F and G of one list never both have a
// majority. Let both have one at some moment: two majorities of the slots share a slot,
// and there the directory of F and that of G have both begun, and are alive. It is one
// directory (one at a time), and it began once; so F = G. This needs no agreement at
// all, only that begin-once is durable. What agreement is for is that nobody begins too
// early: one node alone in F, the others in G, would never come together again.
//
// Agreement. Which founding is begun is decided by ballots, as in single-decree Paxos,
// in which all slots promise, and in which a slot may lose its memory by being wiped:
//
//  0. Each node says hello to every slot, again and again. The one with the smallest
//     node id coordinates, once every slot has answered and none has a log.
//  1. It asks every slot to take part in no ballot before its own. Each one saves that,
//     then answers with the founding that it has accepted last, if any. All must answer.
//  2. If one was accepted, take that of the highest ballot, F. If a majority of F's
//     identities are among those who answered, F may have been decided: it is proposed
//     again, to those. Else F is dead (the other slots hold other directories now, so
//     F can never have a majority), and a new founding of exactly those who answered is
//     proposed. Each one saves that it accepts, unless a later ballot came first.
//  3. When everyone who was asked in 2 has accepted, the founding is decided. Now the
//     coordinator begins, then tells the others; they also learn it by their hellos from
//     anyone who has begun.
//
// A later ballot cannot decide otherwise while the first one lives. Let F be decided by
// ballot b, and consider the first ballot c > b that proposes something else. Each slot
// answered c by some directory y, and F names x for that slot. Where y = x: x accepted F
// in b before it answered c, since afterwards it accepts nothing of b, and reports F, or
// what a ballot between b and c proposed, which is F. Where y ≠ x: one of them is gone
// for good. If x is gone, it counts no more for F. If y is (its answer was old), y does
// not accept in c. So either c sees a majority of F's identities, and proposes F; or F
// has lost its majority for good; or c is never decided. If F has no identity among
// those who answered c, then all of F is gone, or all of those who answered.
//
// A node that is wiped before it began: the slot answers as another directory, the
// ballot comes to nothing, and the next one goes by rule 2. A node that is wiped
// afterwards: it meets the log of the others and joins as a new member. If a majority is
// wiped after one node has begun, the cluster is lost, as it is at any later time; the
// remaining node has a log, and nobody founds beside it.
//
// Ends. While every node is up and messages arrive, one node coordinates (the smallest
// id), every ballot is answered, and the highest round goes up with each refusal; so a
// ballot is decided.
//
// # What the promise does not guard against
//
// Two machines that take turns under one address, both alive, and disks that are put
// back after others took their place, break the first sentence about slots.
package forming
