package metadata

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestBrokenConnection: a broker whose connection broke is fenced unless it is heard
// from soon, one that is gone at once.
func TestBrokenConnection(t *testing.T) {
	const session, beats = "broker.session.timeout.ms=9000", "broker.heartbeat.interval.ms=100"
	hint := func(k *cluster, broker int32, gone bool) {
		k.do(&BrokerHint{BrokerID: broker, Epoch: k.img().Broker(broker).Epoch, Gone: gone})
	}
	t.Run("silent", func(t *testing.T) {
		k := newCluster(t, 3, session, "leat.broker.hint.timeout.ms=300", beats)
		k.mustCreate(assigned("t", []int32{2, 1}))
		hint(k, 2, false)
		k.wait(299 * time.Millisecond)
		if k.img().Broker(2).Fenced {
			t.Fatal("fenced before its time")
		}
		k.wait(time.Millisecond)
		if !k.img().Broker(2).Fenced {
			t.Fatal("not fenced")
		}
		k.expect("t", 0, "leader 1 epoch 1 isr [1]")
		k.checkInvariants()
	})
	t.Run("a slow heart", func(t *testing.T) { // with Kafka's interval
		k := newCluster(t, 3, session, "leat.broker.hint.timeout.ms=1000", "broker.heartbeat.interval.ms=2000")
		hint(k, 2, false)
		k.wait(3999 * time.Millisecond)
		if k.img().Broker(2).Fenced {
			t.Fatal("fenced between two beats")
		}
		k.wait(time.Millisecond)
		if !k.img().Broker(2).Fenced {
			t.Fatal("not fenced")
		}
	})
	t.Run("heard", func(t *testing.T) {
		k := newCluster(t, 3, session, "leat.broker.hint.timeout.ms=300", beats)
		hint(k, 2, false)
		k.wait(200 * time.Millisecond)
		k.beat(2, nil)
		k.wait(8 * time.Second)
		if k.img().Broker(2).Fenced {
			t.Fatal("fenced though it was heard from")
		}
	})
	t.Run("never longer", func(t *testing.T) {
		k := newCluster(t, 3, session, "leat.broker.hint.timeout.ms=300", beats)
		k.wait(8900 * time.Millisecond)
		k.beat(3, nil)
		hint(k, 2, false)
		k.wait(100 * time.Millisecond)
		if !k.img().Broker(2).Fenced {
			t.Fatal("a hint made the session longer")
		}
	})
	t.Run("gone", func(t *testing.T) {
		k := newCluster(t, 3, session)
		k.mustCreate(assigned("t", []int32{2, 1}))
		hint(k, 2, true)
		if k.img().Broker(2).Fenced {
			t.Fatal("fenced though no connection broke")
		}
		hint(k, 2, false)
		hint(k, 2, true)
		if !k.img().Broker(2).Fenced {
			t.Fatal("not fenced")
		}
		k.expect("t", 0, "leader 1 epoch 1 isr [1]")
		if got := k.beat(2, nil); got.IsFenced {
			t.Fatal("stays fenced though it is there")
		}
		k.checkInvariants()
	})
	t.Run("none of its business", func(t *testing.T) {
		k := newCluster(t, 3, session)
		for _, gone := range []bool{false, true} {
			k.do(&BrokerHint{BrokerID: 2, Epoch: k.img().Broker(2).Epoch - 1, Gone: gone}) // an earlier incarnation
			hint(k, 1, gone)                                                               // the controller's own
			k.do(&BrokerHint{BrokerID: 9, Gone: gone})
		}
		k.wait(time.Second)
		for id := int32(1); id <= 3; id++ {
			if k.img().Broker(id).Fenced {
				t.Errorf("broker %d is fenced", id)
			}
		}
	})
}

// TestQuickRestart: who comes back on the same disk right after its connections broke
// need not wait for the end of its session; a second process with its id must.
func TestQuickRestart(t *testing.T) {
	k := newCluster(t, 3)
	ask := func(incarnation, dir byte) int16 {
		req := registrationRequest(k.img(), 2, incarnation)
		req.LogDirs[0] = id(dir)
		return k.ask(req).(*kmsg.BrokerRegistrationResponse).ErrorCode
	}
	if got := ask(60, 202); got != kerr.DuplicateBrokerRegistration.Code {
		t.Errorf("a copy of a broker that is alive: %d", got)
	}
	k.do(&BrokerHint{BrokerID: 2, Epoch: k.img().Broker(2).Epoch})
	if got := ask(60, 9); got != kerr.DuplicateBrokerRegistration.Code {
		t.Errorf("another disk: %d", got)
	}
	k.beat(2, nil)
	if got := ask(60, 202); got != kerr.DuplicateBrokerRegistration.Code {
		t.Errorf("heard from again: %d", got)
	}
	k.do(&BrokerHint{BrokerID: 2, Epoch: k.img().Broker(2).Epoch})
	if got := ask(60, 202); got != 0 {
		t.Errorf("the same disk: %d", got)
	}
}
