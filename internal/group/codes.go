package group

import "github.com/twmb/franz-go/pkg/kerr"

// Error codes that this package answers.
var (
	codeUnknownServer       = kerr.UnknownServerError.Code
	codeMetadataTooLarge    = kerr.OffsetMetadataTooLarge.Code
	codeIllegalGeneration   = kerr.IllegalGeneration.Code
	codeInconsistent        = kerr.InconsistentGroupProtocol.Code
	codeInvalidGroupID      = kerr.InvalidGroupID.Code
	codeUnknownMember       = kerr.UnknownMemberID.Code
	codeInvalidSession      = kerr.InvalidSessionTimeout.Code
	codeRebalanceInProgress = kerr.RebalanceInProgress.Code
	codeInvalidCommitSize   = kerr.InvalidCommitOffsetSize.Code
	codeNonEmptyGroup       = kerr.NonEmptyGroup.Code
	codeGroupNotFound       = kerr.GroupIDNotFound.Code
	codeMemberIDRequired    = kerr.MemberIDRequired.Code
	codeGroupFull           = kerr.GroupMaxSizeReached.Code
	codeFencedInstance      = kerr.FencedInstanceID.Code
	codeSubscribed          = kerr.GroupSubscribedToTopic.Code
)
