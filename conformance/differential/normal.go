package differential

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/leat-stream/leat/conformance/raw"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Answer is a normalised answer: a path into the response, such as
// "Topics[a].Partitions[0].ErrorCode", and what stands there.
type Answer map[string]string

// nearNow is how far a timestamp in milliseconds may lie from the clock to be
// taken for "now": what a broker stamped, never what a scenario chose.
const nearNow = 2 * time.Hour / time.Millisecond

// names replaces what differs from broker to broker by names that do not.
type names struct {
	host, port, dir string
	seen            map[string]string // kind and value -> name
	count           map[string]int    // names given by kind
}

func newNames(addr, dir string) *names {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err) // an address of the harness's own making
	}
	return &names{host: host, port: port, dir: dir, seen: map[string]string{}, count: map[string]int{}}
}

// name is the name of a value of a kind: by order of appearance.
func (n *names) name(kind, value string) string {
	key := kind + "\x00" + value
	if got, ok := n.seen[key]; ok {
		return got
	}
	n.count[kind]++
	got := fmt.Sprintf("<%s %d>", kind, n.count[kind])
	n.seen[key] = got
	return got
}

// topic gives a topic id the name of its topic.
func (n *names) topic(id [16]byte, name string) {
	n.seen["topic id\x00"+hex.EncodeToString(id[:])] = "<id of " + name + ">"
}

// outcome normalises what came of an exchange.
func (n *names) outcome(req kmsg.Request, resp kmsg.Response, err error) Answer {
	switch {
	case errors.Is(err, raw.ErrClosed):
		return Answer{"connection": "closed"}
	case isTimeout(err):
		return Answer{"connection": "no answer"}
	case err != nil:
		return Answer{"connection": err.Error()}
	}
	a := Answer{}
	v := reflect.ValueOf(resp).Elem()
	n.learn(v)
	n.flatten(a, "", v)
	return a
}

// learn reads the pairs of topic name and topic id in a response.
func (n *names) learn(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		id := v.FieldByName("TopicID")
		if name := v.FieldByName("Topic"); name.IsValid() && id.IsValid() {
			if name.Kind() == reflect.Pointer && !name.IsNil() {
				name = name.Elem()
			}
			if raw, ok := id.Interface().([16]byte); ok && raw != [16]byte{} && name.Kind() == reflect.String && name.String() != "" {
				n.topic(raw, name.String())
			}
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				n.learn(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				n.learn(v.Index(i))
			}
		}
	}
}

// flatten writes v's leaves into a.
func (n *names) flatten(a Answer, path string, v reflect.Value) {
	field := path[strings.LastIndexByte(path, '.')+1:]
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			a[path] = "null"
			return
		}
		n.flatten(a, path, v.Elem())
	case reflect.Struct:
		if tags, ok := v.Interface().(kmsg.Tags); ok {
			tags.Each(func(tag uint32, b []byte) { a[fmt.Sprintf("%s.%d", path, tag)] = hex.EncodeToString(b) })
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && (f.Name != "Version" || path != "") {
				n.flatten(a, under(path, f.Name), v.Field(i))
			}
		}
	case reflect.Slice:
		n.flattenList(a, path, field, v)
	case reflect.Array:
		a[path] = n.id(v.Interface().([16]byte))
	case reflect.String:
		a[path] = n.text(field, v.String())
	case reflect.Bool:
		a[path] = strconv.FormatBool(v.Bool())
	default:
		a[path] = n.number(field, v.Int())
	}
}

func under(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// flattenList writes a list: bytes as text or batches, numbers as they stand,
// structs each under its identity, since the order of those means nothing.
func (n *names) flattenList(a Answer, path, field string, v reflect.Value) {
	if v.IsNil() {
		a[path] = "null"
		return
	}
	switch v.Type().Elem().Kind() {
	case reflect.Uint8:
		b := v.Bytes()
		if field == "RecordBatches" {
			n.flattenBatches(a, path, b)
			return
		}
		a[path] = n.bytes(b)
	case reflect.Struct:
		a[path] = "list"
		used := map[string]int{}
		for i := range v.Len() {
			id := n.identity(v.Index(i), i)
			used[id]++
			if used[id] > 1 {
				id = fmt.Sprintf("%s #%d", id, used[id])
			}
			n.flatten(a, path+"["+id+"]", v.Index(i))
		}
	case reflect.String:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = n.text(field, v.Index(i).String())
		}
		a[path] = "[" + strings.Join(parts, " ") + "]"
	case reflect.Array:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = n.id(v.Index(i).Interface().([16]byte))
		}
		a[path] = "[" + strings.Join(parts, " ") + "]"
	default:
		a[path] = fmt.Sprint(v.Interface())
	}
}

// identifying are the fields that tell one element of a list from another, the
// first that an element has and that says something.
var identifying = []string{
	"Topic", "TopicID", "Group", "MemberID", "ResourceName", "Name", "ApiKey", "Key", "NodeID",
	"Partition", "Dir", "ProducerID", "Index",
}

func (n *names) identity(v reflect.Value, index int) string {
	for _, name := range identifying {
		f := v.FieldByName(name)
		if !f.IsValid() {
			continue
		}
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		}
		switch f.Kind() {
		case reflect.String:
			if f.String() != "" || name == "ResourceName" || name == "Group" {
				return n.text(name, f.String())
			}
		case reflect.Array:
			return n.id(f.Interface().([16]byte))
		case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			return n.number(name, f.Int())
		}
	}
	return strconv.Itoa(index)
}

func (n *names) id(id [16]byte) string {
	if id == [16]byte{} {
		return "0"
	}
	return n.name("topic id", hex.EncodeToString(id[:]))
}

// memberID is how both brokers form the ids of classic members.
var memberID = regexp.MustCompile(`^(.*)-([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)

// loopback is an address of the broker's beside the one that clients use.
var loopback = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

func (n *names) text(field, s string) string {
	if s == "" {
		return `""`
	}
	switch field {
	case "ErrorMessage", "Documentation":
		return "<text>" // its words are each broker's own
	case "ClusterID":
		return "<cluster>"
	}
	if m := memberID.FindStringSubmatch(s); m != nil {
		return m[1] + "-" + n.name("member", m[2])
	}
	s = strings.ReplaceAll(s, n.dir, "<dir>")
	s = strings.ReplaceAll(s, n.host+":"+n.port, "<address>")
	s = loopback.ReplaceAllString(s, "<another address>")
	return strconv.Quote(s)
}

func (n *names) number(field string, i int64) string {
	switch field {
	case "Port":
		if strconv.FormatInt(i, 10) == n.port {
			return "<port>"
		}
	case "ProducerID":
		if i >= 0 {
			return n.name("producer", strconv.FormatInt(i, 10))
		}
	case "SessionID":
		if i != 0 {
			return n.name("fetch session", strconv.FormatInt(i, 10))
		}
	case "FinalizedFeaturesEpoch":
		if i >= 0 {
			return "<epoch>"
		}
	case "TotalBytes", "UsableBytes":
		if i > 0 {
			return "<bytes>"
		}
	}
	if d := i - time.Now().UnixMilli(); d > -int64(nearNow) && d < int64(nearNow) {
		return "<now>"
	}
	return strconv.FormatInt(i, 10)
}

// bytes shows bytes as text where they are text. Member ids inside are named.
func (n *names) bytes(b []byte) string {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return "0x" + hex.EncodeToString(b)
		}
	}
	return strconv.Quote(string(b))
}
