package group

import "fmt"

// Event is something notable in the life of a group, told as an effect: it leaves the
// machine once all that it speaks of is committed. Unlike other effects it is not
// derived again after a load. Its String is a line for the operator.
type Event interface {
	String() string
	event()
}

// Rebalancing tells that members have to join anew.
type Rebalancing struct {
	Group      string
	Generation int32 // that ends
	Members    int
	Reason     string
}

func (e Rebalancing) String() string {
	return fmt.Sprintf("group %s: generation %d with %d members rebalances: %s", e.Group, e.Generation, e.Members, e.Reason)
}

// GenerationFormed tells that a rebalance has come to its end.
type GenerationFormed struct {
	Group            string
	Generation       int32
	Members          int // 0 leaves the group empty
	Protocol, Leader string
}

func (e GenerationFormed) String() string {
	if e.Members == 0 {
		return fmt.Sprintf("group %s: generation %d is empty", e.Group, e.Generation)
	}
	return fmt.Sprintf("group %s: generation %d has %d members, protocol %s, leader %s", e.Group, e.Generation, e.Members, e.Protocol, e.Leader)
}

// MemberGone tells that a member is out of the group.
type MemberGone struct {
	Group, Member        string
	ClientID, ClientHost string
	Reason               Reason
	Words                string // the member's own, when it left
}

func (e MemberGone) String() string {
	return fmt.Sprintf("group %s: member %s (client %s at %s) is out: %s%s", e.Group, e.Member, e.ClientID, e.ClientHost, e.Reason, e.Words)
}

// Reason is why a member is out of its group.
type Reason string

// Reasons.
const (
	Left             Reason = "it left"
	SessionTimeout   Reason = "session timeout, it was not heard of"
	RebalanceTimeout Reason = "rebalance timeout, it did not join again"
	SyncTimeout      Reason = "rebalance timeout, it did not ask for its assignment"
	GroupFull        Reason = "the group is full"
)

// OffsetsExpired tells what one look for expired offsets has removed.
type OffsetsExpired struct{ Offsets, Groups int }

func (e OffsetsExpired) String() string {
	return fmt.Sprintf("%d expired offsets removed, and %d groups that had no others", e.Offsets, e.Groups)
}

func (Rebalancing) event()      {}
func (GenerationFormed) event() {}
func (MemberGone) event()       {}
func (OffsetsExpired) event()   {}

func (t *turn) tell(e Event) { t.out.Effects = append(t.out.Effects, e) }
