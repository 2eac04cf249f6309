package sim

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/nodewire"
)

// encode makes the frame of a request, without its size.
func encode(req kmsg.Request, correlation int32, client string) []byte {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(client))
	return f.AppendRequest(nil, req, correlation)[4:]
}

// decode reads an answer's frame, without its size, as one to req.
func decode(req kmsg.Request, frame []byte) (kmsg.Response, error) {
	body := frame[4:]
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && req.Key() != kmsg.ApiVersions.Int16() {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("an answer with header tags")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("an answer that cannot be read: %w", err)
	}
	return resp, nil
}

func correlation(frame []byte) int32 { return int32(binary.BigEndian.Uint32(frame)) }

// keyName names a request.
func keyName(key int16) string {
	if name := nodewire.NameForKey(key); name != "" {
		return name
	}
	return kmsg.NameForKey(key)
}

// flatten takes an answer's bytes, sizes included, out of what it would be written from.
func flatten(out api.Output, records func([]byte)) ([]byte, error) {
	if out.Release != nil {
		defer out.Release()
	}
	var b []byte
	for _, p := range out.Pieces {
		b = append(b, p.Bytes...)
		if p.Run != nil {
			part := make([]byte, p.Run.Len())
			if _, err := p.Run.ReadAt(part, 0); err != nil {
				return nil, err
			}
			records(part)
			b = append(b, part...)
		}
	}
	return b, nil
}
