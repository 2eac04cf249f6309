package quorum

import "errors"

var (
	// ErrNotLeader: this node does not lead in that term.
	ErrNotLeader = errors.New("quorum: not the leader in this term")
	// ErrBusy: too much is uncommitted; nothing was appended.
	ErrBusy = errors.New("quorum: too many uncommitted entries")
	// ErrTooLarge: the entry is above MaxEntryBytes; nothing was appended.
	ErrTooLarge = errors.New("quorum: entry too large")
	// ErrClosed: the node is closed.
	ErrClosed = errors.New("quorum: closed")
	// ErrFailed wraps what made a node stop for good.
	ErrFailed = errors.New("quorum: failed")
	// ErrCompacted: the entries asked for are in a snapshot only.
	ErrCompacted = errors.New("quorum: entries are behind the snapshot")

	// ErrChanging: another change of membership is under way.
	ErrChanging = errors.New("quorum: a change of membership is under way")
	// ErrDuplicateMember: it is a member already, or a voter already.
	ErrDuplicateMember = errors.New("quorum: already a member")
	// ErrUnknownMember: no such member.
	ErrUnknownMember = errors.New("quorum: no such member")
	// ErrNotCaughtUp: a learner that is behind, or silent, gets no vote.
	ErrNotCaughtUp = errors.New("quorum: the member has not caught up")
	// ErrNotTransferred: the other member did not take over in time.
	ErrNotTransferred = errors.New("quorum: leadership was not taken over")
	// ErrLastVoter: the last voter stays.
	ErrLastVoter = errors.New("quorum: the last voter cannot be removed")
	// ErrNoMajority: too few of the voters that would be left are active.
	ErrNoMajority = errors.New("quorum: no majority of active voters would be left")

	// ErrEmpty: the directory holds no log and none may be made.
	ErrEmpty = errors.New("quorum: no metadata log in the directory")
	// ErrCorrupt: a file holds what was never written, below what was synced.
	ErrCorrupt = errors.New("quorum: corrupt metadata log")
	// ErrLostLog: the log ends before what it had synced or committed. A voter that
	// forgot may vote twice: it must rejoin with an empty directory, as a new member.
	ErrLostLog = errors.New("quorum: metadata log has lost synced entries")
	// ErrWrongMember: the directory belongs to another member.
	ErrWrongMember = errors.New("quorum: metadata log of another member")
	// ErrVersion: the format is newer than this program.
	ErrVersion = errors.New("quorum: unknown format version")
)

// syncError marks the error of a sync: what it should have made durable may be lost,
// and the next sync of the same file would succeed without saying so.
type syncError struct{ error }

func (e syncError) Unwrap() error { return e.error }

func failedSync(err error) bool {
	var s syncError
	return errors.As(err, &s)
}
