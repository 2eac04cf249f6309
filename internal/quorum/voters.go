package quorum

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/env"
)

// OnlyVoter tells whether a member is the only voter, by all that the log in its directory has,
// which nobody uses and which is not changed; ErrEmpty when there is no log. No other member can
// know better: a second voter comes in by an entry that the only one has synced.
func OnlyVoter(fsys env.FS, dir string, m Member) (bool, error) {
	l, err := list(fsys, dir)
	if err != nil {
		return false, err
	}
	r, _, err := recoverDir(fsys, dir, l, m.ID())
	if err != nil {
		return false, err
	}
	voters := r.snapshot.Conf.GetVoters()
	for _, e := range r.entries {
		var change raftpb.ConfChangeI
		switch e.GetType() {
		case raftpb.EntryConfChange:
			change = &raftpb.ConfChange{}
		case raftpb.EntryConfChangeV2:
			change = &raftpb.ConfChangeV2{}
		}
		if change == nil || e.GetIndex() <= r.snapshot.Index {
			continue
		}
		if err := proto.Unmarshal(e.GetData(), change.(proto.Message)); err != nil {
			return false, fmt.Errorf("%w: change of membership in entry %d: %w", ErrCorrupt, e.GetIndex(), err)
		}
		voters = changeVoters(voters, change.AsV2())
	}
	return slices.Equal(voters, []uint64{m.ID()}), nil
}
