package differential

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// twoMembers: what two members see of each other's coming and going.
func twoMembers(s *Session) {
	id := s.Topic("two", 1)
	for _, v := range []int16{4, 5, s.Latest(kmsg.JoinGroup)} {
		group := fmt.Sprintf("two-v%d", v)
		first, generation := memberOf(s, group)
		rebalances := func() {
			s.Until("a rebalance of "+group, func() error {
				beat := heartbeat(group, first, generation)
				beat.Version = 3
				resp, err := s.Ask(beat)
				if err != nil {
					return err
				}
				if code := resp.(*kmsg.HeartbeatResponse).ErrorCode; code != kerr.RebalanceInProgress.Code {
					return fmt.Errorf("the first member is told %v", kerr.ErrorForCode(code))
				}
				return nil
			})
		}
		given, _ := s.Do("the second comes", v, join(group, "")).(*kmsg.JoinGroupResponse)
		if given == nil {
			return
		}
		second := given.MemberID
		joins := s.Begin("the second joins", v, join(group, second))
		rebalances()
		s.Do("commit while members are waited for "+group, 8, commit(group, first, generation, "two", id, 0, 1, nil))
		s.Do("commit by who has not joined yet "+group, 8, commit(group, second, generation, "two", id, 0, 1, nil))
		s.Do("sync while members are waited for "+group, 5, syncGroup(group, first, generation, first))
		s.Do("what is described meanwhile "+group, 5, describeGroup(group))
		again, _ := s.Do("the first joins again", v, join(group, first)).(*kmsg.JoinGroupResponse)
		joins()
		if again == nil {
			return
		}
		old := generation
		generation = again.Generation
		s.Do("heartbeat before the assignment "+group, 4, heartbeat(group, first, generation))
		s.Do("commit before the assignment "+group, 8, commit(group, first, generation, "two", id, 0, 2, nil))
		s.Do("commit of the generation before "+group, 8, commit(group, first, old, "two", id, 0, 3, nil))
		s.Do("sync of the generation before "+group, 5, syncGroup(group, first, old, first))
		s.Do("the second joins once more, unchanged", v, join(group, second))
		s.Do("what is described then "+group, 5, describeGroup(group))
		syncs := s.Begin("the second syncs "+group, 5, syncGroup(group, second, generation))
		s.Do("the leader syncs "+group, 5, syncGroup(group, first, generation, first, second))
		syncs()
		s.Do("heartbeat of the second "+group, 4, heartbeat(group, second, generation))
		s.Do("the second joins, unchanged, when all is stable", v, join(group, second))
		s.Do("what is described at last "+group, 5, describeGroup(group))
		changed := join(group, second)
		changed.Protocols[0].Metadata = subscription("another")
		joins = s.Begin("the second joins with another subscription", v, changed)
		rebalances()
		s.Do("the first leaves "+group, 5, leave(group, first))
		alone, _ := joins().(*kmsg.JoinGroupResponse)
		if alone == nil {
			return
		}
		s.Do("heartbeat of who left "+group, 4, heartbeat(group, first, generation))
		s.Do("the second assigns to somebody who left "+group, 5, syncGroup(group, second, alone.Generation, first, second))
		s.Do("clean up "+group, 5, leave(group, second))
		s.Do("what is left "+group, 7, fetchOffsets(group, "two", id, 0))
	}
}

func describeGroup(group string) *kmsg.DescribeGroupsRequest {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	return req
}
