package broker

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// Long runs go from the segment's file to the socket by sendfile, short ones by one
// gathering write with what stands around them. The system calls are counted, so that
// this cannot be lost without a word.
func TestFetchIsZeroCopy(t *testing.T) {
	n := prepare(t)
	n.fs, n.dir = env.OS, filepath.Join(t.TempDir(), "data")
	n.start()
	c := n.dial()
	c.createTopic("long")
	c.createTopic("short")
	long, short := bytes.Repeat([]byte("long run "), 20_000), []byte("short")
	for range 3 {
		c.produce("long", long)
	}
	c.produce("short", short)

	count := func(topic string, values int, value []byte) (sendfile, sendmsg int64) {
		t.Helper()
		sf, sm := calls.sendfile.Load(), calls.sendmsg.Load()
		got := c.fetch(topic, 0)
		if len(got) != values {
			t.Fatalf("fetched %d records of %s, want %d", len(got), topic, values)
		}
		for _, v := range got {
			if v != string(value) {
				t.Fatalf("a record of %d bytes came as one of %d", len(value), len(v))
			}
		}
		return calls.sendfile.Load() - sf, calls.sendmsg.Load() - sm
	}
	// The socket's buffer may take the run in several steps, but not record by record.
	if sendfile, sendmsg := count("long", 3, long); sendfile < 1 || sendfile > 50 || sendmsg < 1 || sendmsg > 2 {
		t.Errorf("a long run took %d calls of sendfile and %d of sendmsg", sendfile, sendmsg)
	}
	if sendfile, sendmsg := count("short", 1, short); sendfile != 0 || sendmsg != 1 {
		t.Errorf("a short run took %d calls of sendfile and %d of sendmsg, want 0 and 1", sendfile, sendmsg)
	}
	// The offset is explicit: reading again from the start gives the same bytes.
	count("long", 3, long)
}

// TestSendfileSharesNoPosition: readers of one segment file do not disturb each other,
// as they would if sendfile used the file's own position.
func TestSendfileSharesNoPosition(t *testing.T) {
	n := prepare(t, "socket.send.buffer.bytes=20000") // a run goes out in several steps
	n.fs, n.dir = env.OS, filepath.Join(t.TempDir(), "data")
	n.start()
	c := n.dial()
	c.createTopic("t")
	const records = 12
	value := func(i int) string { return fmt.Sprintf("%04d", i) + string(bytes.Repeat([]byte{byte(i)}, 80_000)) }
	for i := range records {
		c.produce("t", []byte(value(i)))
	}
	var wg sync.WaitGroup
	for g := range 4 {
		reader := n.dial()
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 0))
			for range 25 {
				from := rng.IntN(records)
				resp, err := reader.try(fetchRequest("t", int64(from), 0, 0))
				if err != nil {
					t.Error(err)
					return
				}
				got := reader.fetched(resp)
				for i, v := range got {
					if v != value(from+i) {
						t.Errorf("offset %d holds record %.4s", from+i, v)
						return
					}
				}
				if len(got) != records-from {
					t.Errorf("%d records from offset %d", len(got), from)
				}
			}
		})
	}
	wg.Wait()
}
