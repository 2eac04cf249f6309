package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/out"
)

// Unreachable says that no node to begin with answers.
func (e *Env) Unreachable(err error) error {
	reason, hint := Reason(err), "start one with 'leat serve', or name another with --bootstrap-server"
	if reason == noAnswer {
		hint = "one that waits for its cluster answers nobody, and says in its log for whom; name another with --bootstrap-server"
	}
	return out.Hint(fmt.Errorf("cannot reach a broker at %s: %s", strings.Join(e.Brokers(), ", "), reason), hint)
}

// noAnswer is the reason when nothing was heard.
const noAnswer = "no answer"

// Reason is why a connection, or an answer, is not to be had.
func Reason(err error) string {
	var dns *net.DNSError
	var parts *kadm.ShardErrors // its text tells of requests, not of reasons
	switch {
	case errors.As(err, &parts) && len(parts.Errs) > 0:
		return Reason(parts.Errs[0].Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host " + dns.Name
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection was closed"
	case errors.Is(err, context.DeadlineExceeded), dns != nil && dns.IsTimeout, strings.Contains(err.Error(), "i/o timeout"):
		return noAnswer
	}
	return err.Error()
}

// hints say what to do about the cluster's errors.
var hints = map[*kerr.Error]string{
	kerr.UnknownTopicOrPartition:    "'leat topic list' shows what there is",
	kerr.UnknownTopicID:             "'leat topic list' shows what there is",
	kerr.TopicAlreadyExists:         "use --if-not-exists to accept that",
	kerr.InvalidTopicException:      "a name has at most 249 letters, digits, dots, underscores or hyphens",
	kerr.InvalidReplicationFactor:   "'leat cluster info' shows how many brokers there are",
	kerr.GroupIDNotFound:            "'leat group list' shows what there is",
	kerr.NonEmptyGroup:              "stop its consumers first",
	kerr.GroupSubscribedToTopic:     "stop its consumers first",
	kerr.UnknownMemberID:            "the group has live consumers; stop them first",
	kerr.TopicDeletionDisabled:      "the brokers have delete.topic.enable=false",
	kerr.InvalidRecord:              "a compacted topic takes no record without a key",
	kerr.MessageTooLarge:            "raise max.message.bytes with 'leat topic alter', or send less",
	kerr.RecordListTooLarge:         "send smaller batches",
	kerr.NotEnoughReplicas:          "wait for the missing replicas, or lower min.insync.replicas",
	kerr.TopicAuthorizationFailed:   "ask for access to the topic",
	kerr.GroupAuthorizationFailed:   "ask for access to the group",
	kerr.ClusterAuthorizationFailed: "ask for access to the cluster",
	kerr.UnsupportedVersion:         "the brokers are of a release that lacks this",
	kerr.OffsetOutOfRange:           "'leat topic describe' shows the offsets that there are",
}

// Explain puts an error of the cluster into plain words.
func (e *Env) Explain(err error) error {
	if err == nil {
		return nil
	}
	var (
		usage *out.UsageError
		kafka *kerr.Error
		shard *kadm.ShardErrors
		auth  *kadm.AuthError
		dial  *net.OpError
	)
	switch {
	case errors.As(err, &usage), errors.Is(err, context.Canceled), out.Hinted(err):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrRecordTimeout):
		if why := e.leaderless(); why != "" {
			return out.Hint(fmt.Errorf("no answer within %s", e.timeout), why)
		}
		return out.Hint(fmt.Errorf("no answer within %s", e.timeout), "raise --timeout, or see whether the brokers are well")
	case errors.As(err, &kafka):
		if hint, ok := hints[kafka]; ok {
			return out.Hint(err, hint)
		}
	case errors.As(err, &shard) && len(shard.Errs) > 0 && shard.Errs[0].Err != err:
		return e.Explain(shard.Errs[0].Err)
	case errors.As(err, &auth):
		return e.Explain(auth.Err)
	case errors.As(err, &dial):
		if why := e.leaderless(); why != "" { // a node answers, and what is asked for is at another
			at := ""
			if dial.Addr != nil {
				at = " at " + dial.Addr.String()
			}
			return out.Hint(fmt.Errorf("cannot reach the broker%s: %s", at, Reason(err)), why)
		}
		return e.Unreachable(err)
	}
	return err
}

// KafkaError is the error of a code and the message that came with it.
func KafkaError(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || message == nil || *message == "" {
		return err
	}
	return WithMessage(err, *message)
}

// WithMessage adds the broker's own words to an error.
func WithMessage(err error, message string) error {
	var kafka *kerr.Error
	if err == nil || message == "" || !errors.As(err, &kafka) {
		return err
	}
	return &brokerError{kafka, message}
}

type brokerError struct {
	kafka   *kerr.Error
	message string
}

func (b *brokerError) Error() string { return b.kafka.Message + ": " + b.message }
func (b *brokerError) Unwrap() error { return b.kafka }
