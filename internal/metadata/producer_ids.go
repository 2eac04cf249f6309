package metadata

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/schema"
)

// ProducerIDBlock is the number of producer ids that a broker gets at a time.
const ProducerIDBlock = 1000

// allocateProducerIDs answers AllocateProducerIDs (version 0; KIP-730). A block is
// never given out twice; one whose answer is lost is never used.
func (c *Controller) allocateProducerIDs(req *kmsg.AllocateProducerIDsRequest) outcome {
	resp := req.ResponseKind().(*kmsg.AllocateProducerIDsResponse)
	first := c.View().NextProducerID()
	_, err := c.checkEpoch(req.BrokerID, req.BrokerEpoch)
	if err == nil && first > math.MaxInt64-ProducerIDBlock {
		err = refuse(kerr.UnknownServerError, "All producer ids are given out.")
	}
	if err != nil {
		resp.ErrorCode, _ = code(err)
		return outcome{body: resp}
	}
	resp.ProducerIDStart, resp.ProducerIDLen = first, ProducerIDBlock
	return outcome{body: resp, recs: []schema.Record{
		&schema.ProducerIDs{BrokerID: req.BrokerID, BrokerEpoch: req.BrokerEpoch, Next: first + ProducerIDBlock}}}
}
