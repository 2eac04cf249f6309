package forming

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"

	"github.com/leat-stream/leat/internal/nodewire"
)

// Promise is what a node remembers of foundings, durably, before it says so.
type Promise struct {
	Ballot     nodewire.Ballot    // the node takes part in no earlier one
	Accepted   *nodewire.Founding // that the node agreed to, of the highest ballot
	AcceptedAt nodewire.Ballot
	Begun      bool // the node's log began by Accepted
}

// PromiseFile is the file, in the data directory, that holds the promise.
const PromiseFile = "founding"

// promiseVersion is the first line of the file.
const promiseVersion = "leat founding 1"

// ErrPromise says that the bytes are no promise. A file that is damaged must stop the
// start: it might be a promise that was kept.
var ErrPromise = errors.New("the founding file is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode is the content of PromiseFile: a line with the version and a checksum, and one
// of JSON.
func (p Promise) Encode() []byte {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // it holds strings, numbers and booleans
	}
	return fmt.Appendf(nil, "%s %08x\n%s\n", promiseVersion, crc32.Checksum(body, castagnoli), body)
}

// DecodePromise reads what Encode wrote.
func DecodePromise(b []byte) (Promise, error) {
	var p Promise
	head, body, ok := bytes.Cut(b, []byte{'\n'})
	sum, versioned := bytes.CutPrefix(head, []byte(promiseVersion+" "))
	body, ended := bytes.CutSuffix(body, []byte{'\n'})
	if !ok || !versioned || !ended || len(sum) != 8 {
		return p, ErrPromise
	}
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || uint32(want) != crc32.Checksum(body, castagnoli) {
		return p, ErrPromise
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return Promise{}, fmt.Errorf("%w: %w", ErrPromise, err)
	}
	return p, nil
}

// less orders ballots.
func less(a, b nodewire.Ballot) bool {
	if a.Round != b.Round {
		return a.Round < b.Round
	}
	return bytes.Compare(a.By[:], b.By[:]) < 0
}

// same tells whether two identities are one member: its address may change.
func same(a, b nodewire.Identity) bool {
	return a.NodeID == b.NodeID && a.DirectoryID == b.DirectoryID
}

func equal(a, b *nodewire.Founding) bool {
	return a != nil && b != nil && a.ClusterID == b.ClusterID && slices.EqualFunc(a.Voters, b.Voters, same)
}

// names tells whether a founding, or a list of voters, has the identity.
func names(all []nodewire.Identity, id nodewire.Identity) bool {
	return slices.ContainsFunc(all, func(v nodewire.Identity) bool { return same(v, id) })
}

// slots are the addresses of a founding, sorted.
func slots(f *nodewire.Founding) []string {
	var all []string
	for _, v := range f.Voters {
		all = append(all, v.Address)
	}
	slices.Sort(all)
	return all
}
