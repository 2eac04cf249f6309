package cli

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestQuorumWithoutALeader: a request that is not answered in time is no matter of time then, and a
// node can say so; where none says so, nothing is made up.
func TestQuorumWithoutALeader(t *testing.T) {
	const says = "the metadata quorum has no leader: a majority of the voters (1 at a:9093) has to run"
	for _, test := range []struct {
		code int16
		want string
	}{{kerr.LeaderNotAvailable.Code, says}, {0, "raise --timeout, or see whether the brokers are well"}} {
		w := newWorld(t)
		w.cluster.ControlKey(kmsg.ApiVersions.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			return new(mover).versions(r), nil, true
		})
		w.hang(kmsg.CreateTopics, -1)
		w.cluster.ControlKey(kmsg.DescribeQuorum.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			resp := r.ResponseKind().(*kmsg.DescribeQuorumResponse)
			resp.ErrorCode, resp.ErrorMessage = test.code, kmsg.StringPtr(says)
			return resp, nil, true
		})
		r := w.run("", "topic", "create", "t", "--timeout", "1s")
		if want := "leat: no answer within 1s; " + test.want; r.code != 1 || strings.TrimSpace(r.err) != want {
			t.Errorf("%d %s\nwant %s", r.code, r.err, want)
		}
	}
}
