package metadata

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestLateRegistration: a registration replaces none that it does not know of, whether its
// incarnation was registered once or never; who is alive asks again, and gets it.
func TestLateRegistration(t *testing.T) {
	for _, doubt := range []string{"session over", "connection broke", "other controller"} {
		t.Run(doubt, func(t *testing.T) {
			k := newCluster(t, 2)
			ask := func(incarnation byte, previous int64) *kmsg.BrokerRegistrationResponse {
				switch doubt {
				case "session over":
					k.wait(20e9)
				case "connection broke":
					k.do(&BrokerHint{BrokerID: 2, Epoch: k.img().Broker(2).Epoch})
				case "other controller":
					base := k.img()
					k.c = NewController(base, k.opts)
					k.settle(k.c.Resume(k.now))
				}
				req := registrationRequest(k.img(), 2, incarnation)
				req.PreviousBrokerEpoch = previous
				return k.ask(req).(*kmsg.BrokerRegistrationResponse)
			}
			first := k.img().Broker(2).Epoch
			second := ask(50, first)
			if second.ErrorCode != 0 || second.BrokerEpoch <= first {
				t.Fatalf("restart: %+v", second)
			}
			k.unfence(2)
			before := k.img().Broker(2)
			for name, late := range map[string]*kmsg.BrokerRegistrationResponse{
				"the one before":        ask(2, 0),
				"one that never was":    ask(49, first),
				"one of an empty disk":  ask(48, 0),
				"the one before, later": ask(2, first),
			} {
				if late.ErrorCode != kerr.StaleBrokerEpoch.Code || late.BrokerEpoch != -1 {
					t.Errorf("%s: %+v", name, late)
				}
			}
			if b := k.img().Broker(2); b.Epoch != before.Epoch || b.IncarnationID != before.IncarnationID {
				t.Fatalf("%+v", b)
			}
			if got := ask(50, first); got.ErrorCode != 0 || got.BrokerEpoch != second.BrokerEpoch {
				t.Errorf("the live one, asking twice: %+v", got)
			}
			third := ask(51, second.BrokerEpoch)
			if third.ErrorCode != 0 || third.BrokerEpoch <= second.BrokerEpoch {
				t.Errorf("the next one: %+v", third)
			}
			if got := ask(52, third.BrokerEpoch+100); got.ErrorCode != 0 {
				t.Errorf("one that knows more than this cluster: %+v", got)
			}
			if got := ask(53, -1); got.ErrorCode != 0 {
				t.Errorf("one of another build: %+v", got)
			}
			k.checkInvariants()
		})
	}
}
