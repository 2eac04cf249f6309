package api_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat"
	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/leattest"
)

func versionsRequest(name, version string) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = name, version
	return req
}

// TestApiVersions: exactly what is built is told, in every version.
func TestApiVersions(t *testing.T) {
	p := dial(t, leattest.Start(t))
	for v := range int16(6) {
		resp := ask[*kmsg.ApiVersionsResponse](p, v, versionsRequest("test", "1.0"))
		want(t, "ApiVersions", resp.ErrorCode, nil)
		built := api.Handlers(api.ClientDoor)
		if len(resp.ApiKeys) != len(built) {
			t.Fatalf("version %d: %d keys, %d are built", v, len(resp.ApiKeys), len(built))
		}
		for i, k := range resp.ApiKeys {
			if k.ApiKey != built[i].Key.Int16() || k.MinVersion != built[i].Min || k.MaxVersion != built[i].Max {
				t.Errorf("version %d: %+v", v, k)
			}
		}
		if (len(resp.SupportedFeatures) > 0) != (v >= 3) {
			t.Errorf("version %d: features %v", v, resp.SupportedFeatures)
		}
	}
	for _, bad := range [][2]string{{"", "1"}, {"a", ""}, {"a b", "1"}, {"-a", "1"}, {"a", "1."}} {
		resp := ask[*kmsg.ApiVersionsResponse](p, 3, versionsRequest(bad[0], bad[1]))
		want(t, fmt.Sprintf("software %q", bad), resp.ErrorCode, kerr.InvalidRequest)
	}
}

// TestSoftwareVersion: a node tells its version in a tagged field, where there are any, and
// nothing else of the answer differs by it.
func TestSoftwareVersion(t *testing.T) {
	p := dial(t, leattest.Start(t))
	for v := range int16(6) {
		resp := ask[*kmsg.ApiVersionsResponse](p, v, versionsRequest("test", "1.0"))
		if got := nodewire.Software(resp); (v >= 3) != (got == leat.Version) {
			t.Errorf("version %d: %q, it is %q", v, got, leat.Version)
		}
	}
}

// TestUnknownApiVersionsVersion: answered in version 0, so that the client can ask again
// on the same connection (KIP-511).
func TestUnknownApiVersionsVersion(t *testing.T) {
	p := dial(t, leattest.Start(t))
	for _, v := range []int16{6, 99, -1, 32767, -32768} {
		frame := []byte{0, 0, 0, 15, 0, 18, byte(uint16(v) >> 8), byte(v), 0, 0, 0, 7, 0, 1, 'c', 0, 0xad, 0xbe, 0xef}
		if err := p.Send(frame); err != nil {
			t.Fatal(err)
		}
		body, err := p.ReceiveBytes(patience)
		if err != nil {
			t.Fatalf("version %d: %v", v, err)
		}
		var resp kmsg.ApiVersionsResponse
		if err := resp.ReadFrom(body[4:]); err != nil || binary.BigEndian.Uint32(body) != 7 {
			t.Fatalf("version %d: %x: %v", v, body, err)
		}
		want(t, fmt.Sprint("version ", v), resp.ErrorCode, kerr.UnsupportedVersion)
		if len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 5 {
			t.Fatalf("version %d: keys %+v", v, resp.ApiKeys)
		}
	}
	want(t, "then", ask[*kmsg.ApiVersionsResponse](p, 5, versionsRequest("test", "1")).ErrorCode, nil)
}

// TestMisroutedApiVersions: a client that says whom it means to reach is told when it
// reached another (KIP-1242).
func TestMisroutedApiVersions(t *testing.T) {
	p := dial(t, leattest.Start(t, leattest.Set("node.id", "4")))
	cluster := *ask[*kmsg.MetadataResponse](p, 12, metadataRequest()).ClusterID
	for _, c := range []struct {
		cluster *string
		node    int32
		is      *kerr.Error
	}{
		{nil, -1, nil}, {&cluster, 4, nil}, {&cluster, 5, kerr.RebootstrapRequired},
		{kmsg.StringPtr("other"), 4, kerr.RebootstrapRequired},
		{&cluster, -1, kerr.InvalidRequest}, {nil, 4, kerr.InvalidRequest},
	} {
		req := versionsRequest("test", "1")
		req.ClusterID, req.NodeID = c.cluster, c.node
		resp := ask[*kmsg.ApiVersionsResponse](p, 5, req)
		want(t, fmt.Sprint(c.cluster != nil, c.node), resp.ErrorCode, c.is)
		if (len(resp.ApiKeys) > 0) != (c.is == nil) {
			t.Errorf("%d keys beside error %d", len(resp.ApiKeys), resp.ErrorCode)
		}
	}
}
