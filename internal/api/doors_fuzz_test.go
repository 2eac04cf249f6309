package api

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
)

// FuzzControllersDoor sends any body under any key and version by the controllers' door:
// it is answered once, or refused.
func FuzzControllersDoor(f *testing.F) {
	for _, h := range Handlers(ControllerDoor) {
		for v := h.Min; v <= h.Max; v++ {
			req := kmsg.RequestForKey(h.Key.Int16())
			req.SetVersion(v)
			f.Add(h.Key.Int16(), v, req.AppendTo(nil))
		}
	}
	sound, err := Forward(&metadata.Request{Context: metadata.Context{Principal: "User:a", Address: "::1"}, Req: packAutoCreate([]string{"t"})})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(kmsg.Envelope.Int16(), int16(0), sound.Envelope.AppendTo(nil))
	f.Add(kmsg.BrokerRegistration.Int16(), int16(4), PackRegistration(&metadata.RegisterBroker{
		Req: kmsg.NewPtrBrokerRegistrationRequest(), Lost: []metadata.TopicPartition{{Partition: 1}}}).AppendTo(nil))
	f.Add(nodewire.KeyHello, int16(0), (&nodewire.HelloRequest{}).AppendTo(nil))
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		w := newWorld(t)
		w.topic("t", []int32{1, 1, 2})
		w.s.Nodes = func(r *Request, _ kmsg.Request) { r.ReplyNone() }
		w.s.Quorum = &quorumOf{leads: true}
		w.here = func(_ any, done func(any, error)) { done(nil, machine.ErrNotLeader) }
		frame := binary.BigEndian.AppendUint16(nil, uint16(key))
		frame = binary.BigEndian.AppendUint16(frame, uint16(version))
		frame = append(frame, 0, 0, 0, 1, 0xff, 0xff)
		if req := kmsg.RequestForKey(key); req != nil {
			if req.SetVersion(version); req.IsFlexible() {
				frame = append(frame, 0)
			}
		}
		answers := 0
		v := w.s.Serve(w.conn(ControllerDoor), append(frame, body...), new(Request), func(a Answer) {
			answers++
			if a == nil {
				return
			}
			if out := a(); out.Release != nil {
				out.Release()
			}
		})
		if (v.Err == nil) != (answers == 1) || answers > 1 {
			t.Fatalf("key %d version %d: %d answers, %v", key, version, answers, v.Err)
		}
		if used := w.s.Budget.used; used != 0 {
			t.Fatalf("key %d version %d: %d bytes are not given back", key, version, used)
		}
	})
}
