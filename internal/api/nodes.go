package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/wire"
)

// betweenNodes serves the requests between nodes that Kafka has no message for (package
// nodewire), at the controllers' door only. Their answers may come out of order with the
// work of others: each is early.
var betweenNodes = &Handler{Doors: ControllerDoor, Early: true}

// serveNode hands a request of another node to Server.Nodes. It does not count towards
// the budget of clients' requests, nor wait for it: elections must go on whatever
// clients do.
func (s *Server) serveNode(r *Request) Verdict {
	r.handler = betweenNodes
	if !s.onCluster(r, kmsg.ACLOperationClusterAction) {
		return Verdict{Err: refused{r.Key, r.Version, "it is not allowed to " + r.Conn.Principal}}
	}
	if _, err := nodewire.Check(r.Key, r.Version, r.Body); err != nil {
		return Verdict{Err: refused{r.Key, r.Version, err.Error()}}
	}
	msg := nodewire.RequestForKey(r.Key)
	msg.SetVersion(r.Version)
	if err := msg.ReadFrom(r.Body); err != nil {
		return Verdict{Err: refused{r.Key, r.Version, err.Error()}}
	}
	r.Msg = msg
	s.Nodes(r, msg)
	return Verdict{Handler: betweenNodes}
}

// AnswerHello answers a frame (without its size prefix) with a hello's response, size prefix
// included, for a node that serves nothing else yet: any other request is an error.
func AnswerHello(frame []byte, resp *nodewire.HelloResponse) ([]byte, error) {
	h, body, err := wire.ParseHeader(frame)
	if err != nil {
		return nil, err
	}
	if h.Key != nodewire.KeyHello {
		return nil, refused{h.Key, h.Version, "this node waits for an id"}
	}
	req := &nodewire.HelloRequest{Version: h.Version}
	if err := req.ReadFrom(body); err != nil {
		return nil, refused{h.Key, h.Version, err.Error()}
	}
	resp.Version = h.Version
	out := resp.AppendTo(wire.AppendResponseHeader(nil, h.Key, h.Version, h.CorrelationID))
	wire.PatchSize(out, 0)
	return out, nil
}

// nodesKey tells whether a key is one of theirs that this connection may use.
func (s *Server) nodesKey(c *Conn, key int16) bool {
	return s.Nodes != nil && c.Controller && nodewire.RequestForKey(key) != nil
}

// nodesKeys lists them for ApiVersions.
func nodesKeys() []kmsg.ApiVersionsResponseApiKey {
	var keys []kmsg.ApiVersionsResponseApiKey
	for key := nodewire.FirstKey; ; key++ {
		req := nodewire.RequestForKey(key)
		if req == nil {
			return keys
		}
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MaxVersion = key, req.MaxVersion()
		keys = append(keys, k)
	}
}
