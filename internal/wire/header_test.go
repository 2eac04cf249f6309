package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Headers as kmsg writes them, for every request in every version.
func TestParseHeader(t *testing.T) {
	for _, id := range []string{"", "client"} {
		f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(id))
		each(func(key, version int16) {
			if key == 7 && version == 0 {
				return // kmsg stops after the header
			}
			req := kmsg.RequestForKey(key)
			req.SetVersion(version)
			frame := f.AppendRequest(nil, req, 42)[4:]
			h, body, err := ParseHeader(frame)
			if err != nil || h.Key != key || h.Version != version || h.CorrelationID != 42 || !bytes.Equal(body, req.AppendTo(nil)) {
				t.Fatalf("key %d version %d: %+v %v, body of %d", key, version, h, err, len(body))
			}
			if string(h.ClientID) != id {
				t.Errorf("key %d version %d: client id %q", key, version, h.ClientID)
			}
			for i := range len(frame) - len(body) {
				if _, _, err := ParseHeader(frame[:i]); !errors.Is(err, ErrShort) {
					t.Errorf("key %d version %d: %d bytes of header: %v", key, version, i, err)
				}
			}
		})
	}
}

func TestParseHeaderOfTheFuture(t *testing.T) {
	// ApiVersions v99 has the header of v3, with a tagged field here.
	h, body, err := ParseHeader([]byte{0, 18, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 1, 5, 1, 9, 7})
	if err != nil || h.Version != 99 || h.ClientID != nil || len(body) != 1 {
		t.Error(h, body, err)
	}
	// ControlledShutdown v0 has no client id.
	h, body, err = ParseHeader([]byte{0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2})
	if err != nil || h.ClientID != nil || len(body) != 4 {
		t.Error(h, body, err)
	}
	// An unknown key has the oldest header.
	h, body, err = ParseHeader([]byte{3, 0xe7, 0, 1, 0, 0, 0, 1, 0, 1, 'x', 0})
	if err != nil || h.Key != 999 || string(h.ClientID) != "x" || len(body) != 1 {
		t.Error(h, body, err)
	}
}

func TestResponseHeader(t *testing.T) {
	for _, c := range []struct {
		key, version int16
		size         int
	}{{1, 11, 8}, {1, 12, 9}, {18, 0, 8}, {18, 3, 8}, {18, 99, 8}, {999, 0, 8}} {
		if got := AppendResponseHeader(nil, c.key, c.version, 7); len(got) != c.size || got[7] != 7 {
			t.Errorf("key %d version %d: %x", c.key, c.version, got)
		}
	}
	frame := []byte{0, 0, 0, 0, 1, 2}
	if PatchSize(frame, 254); !bytes.Equal(frame, []byte{0, 0, 1, 0, 1, 2}) {
		t.Errorf("%x", frame)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte{0, 18, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 1, 5, 1, 9, 7})
	f.Add([]byte{0, 3, 0, 1, 0, 0, 0, 1, 0, 1, 'x', 0})
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := ParseHeader(frame)
		if err == nil && !bytes.HasSuffix(frame, body) {
			t.Fatal(h, body)
		}
	})
}
