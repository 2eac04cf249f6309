package api

import (
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
)

// ApiVersions, key 18. A version that is not ours is answered with a v0 body, error 35
// and a key list of ApiVersions alone, so that the client can ask again (KIP-511). The response header has
// no tag section at any version.
var _ = register(Handler{Key: kmsg.ApiVersions, Doors: ClientDoor | ControllerDoor, Handle: handleApiVersions})

// softwareName is what client software names and versions must look like (KIP-511).
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func handleApiVersions(s *Server, r *Request) {
	req := r.Msg.(*kmsg.ApiVersionsRequest)
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.SetVersion(r.Version)
	if r.Version >= 3 {
		if !softwareName.MatchString(req.ClientSoftwareName) || !softwareName.MatchString(req.ClientSoftwareVersion) {
			resp.ErrorCode = kerr.InvalidRequest.Code
			r.Reply(resp)
			return
		}
		r.Conn.SoftwareName, r.Conn.SoftwareVersion = req.ClientSoftwareName, req.ClientSoftwareVersion
	}
	img := s.Image()
	if code := misrouted(s, r.Version, req, img); code != nil {
		resp.ErrorCode = code.Code
		r.Reply(resp)
		return
	}
	resp.ApiKeys = apiKeys(r.Conn.door())
	if r.Conn.Controller && s.Nodes != nil {
		resp.ApiKeys = append(resp.ApiKeys, nodesKeys()...)
	}
	if r.Version >= 3 {
		fillFeatures(resp, r.Version, img)
		nodewire.SetSoftware(resp, s.Version)
	}
	r.Reply(resp)
}

// misrouted says whether the client meant to reach another cluster or node (KIP-1242,
// version 5). It names both or neither.
func misrouted(s *Server, version int16, req *kmsg.ApiVersionsRequest, img *metadata.Image) *kerr.Error {
	switch {
	case version < 5:
		return nil
	case (req.ClusterID == nil) != (req.NodeID < 0):
		return kerr.InvalidRequest
	case req.ClusterID != nil && (*req.ClusterID != img.ClusterID() || req.NodeID != s.NodeID):
		return kerr.RebootstrapRequired
	}
	return nil
}

// answerUnknownApiVersions answers a version that we do not speak.
func answerUnknownApiVersions(r *Request) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	resp.ApiKeys = slices.DeleteFunc(apiKeys(r.Conn.door()), func(k kmsg.ApiVersionsResponseApiKey) bool {
		return k.ApiKey != kmsg.ApiVersions.Int16()
	})
	r.Version = 0
	r.Reply(resp)
}

func apiKeys(at Door) []kmsg.ApiVersionsResponseApiKey {
	var keys []kmsg.ApiVersionsResponseApiKey
	for _, h := range Handlers(at) {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = h.Key.Int16(), h.Min, h.Max
		keys = append(keys, k)
	}
	return keys
}

// Feature is a feature level that this software supports.
type Feature struct {
	Name     string
	Min, Max int16
}

// Features lists the feature levels that are built. The others of the release we
// follow (transaction.version, group.version, share.version, streams.version,
// kraft.version) are added by the change that builds them.
var Features = []Feature{{"eligible.leader.replicas.version", 0, 1}, {"metadata.version", 7, 33}}

// fillFeatures adds supported and finalised features. Versions 3 leaves out what may
// be at level 0, as its clients take a minimum of 0 for an error.
func fillFeatures(resp *kmsg.ApiVersionsResponse, version int16, img *metadata.Image) {
	for _, f := range Features {
		if f.Min > 0 || version >= 4 { // of what is finalised everybody is told
			sf := kmsg.NewApiVersionsResponseSupportedFeature()
			sf.Name, sf.MinVersion, sf.MaxVersion = f.Name, f.Min, f.Max
			resp.SupportedFeatures = append(resp.SupportedFeatures, sf)
		}
		if level := img.Feature(f.Name); level > 0 {
			ff := kmsg.NewApiVersionsResponseFinalizedFeature()
			ff.Name, ff.MinVersionLevel, ff.MaxVersionLevel = f.Name, level, level
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, ff)
		}
	}
	resp.FinalizedFeaturesEpoch = img.Index()
}
