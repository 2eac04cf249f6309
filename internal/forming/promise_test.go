package forming

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/leat-stream/leat/internal/nodewire"
)

var kept = Promise{
	Ballot:     nodewire.Ballot{Round: 3, By: [16]byte{1, 15: 0xff}},
	Accepted:   &nodewire.Founding{ClusterID: "5L6g3nShT-eMCtK--X86sw", Voters: []nodewire.Identity{{NodeID: 1, DirectoryID: [16]byte{1, 15: 0xff}, Address: "a:9093"}}},
	AcceptedAt: nodewire.Ballot{Round: 2, By: [16]byte{9}},
	Begun:      true,
}

// The bytes on disk do not change.
const golden = `leat founding 1 a831cc79
{"Ballot":{"Round":3,"By":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,255]},"Accepted":{"ClusterID":"5L6g3nShT-eMCtK--X86sw","Voters":[{"NodeID":1,"DirectoryID":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,255],"Address":"a:9093"}]},"AcceptedAt":{"Round":2,"By":[9,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]},"Begun":true}
`

func TestPromiseBytes(t *testing.T) {
	if got := string(kept.Encode()); got != golden {
		t.Errorf("%q", got)
	}
	for _, p := range []Promise{kept, {}} {
		if got, err := DecodePromise(p.Encode()); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// Every cut and every flipped bit is noticed.
func TestDamagedPromise(t *testing.T) {
	b := kept.Encode()
	for i := range b {
		if _, err := DecodePromise(b[:i]); !errors.Is(err, ErrPromise) {
			t.Fatalf("%d bytes: %v", i, err)
		}
		for bit := range 8 {
			bad := bytes.Clone(b)
			bad[i] ^= 1 << bit
			if p, err := DecodePromise(bad); !errors.Is(err, ErrPromise) && !reflect.DeepEqual(p, kept) {
				t.Fatalf("byte %d bit %d: %+v, %v", i, bit, p, err)
			}
		}
	}
}

func FuzzDecodePromise(f *testing.F) {
	f.Add(kept.Encode())
	f.Add(Promise{}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePromise(b)
		if err != nil {
			return
		}
		if again, err := DecodePromise(p.Encode()); err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%+v came back as %+v, %v", p, again, err)
		}
	})
}
