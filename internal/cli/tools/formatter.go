package tools

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// formatter writes records as kafka-console-consumer.sh's formatters do.
func (x *script) formatter() (func(io.Writer, *kgo.Record) error, error) {
	name := x.opts.value("formatter")
	short := name[strings.LastIndexAny(name, ".$")+1:]
	switch short {
	case "", "DefaultMessageFormatter", "LoggingMessageFormatter":
	case "NoOpMessageFormatter":
		return func(io.Writer, *kgo.Record) error { return nil }, nil
	default:
		return nil, fmt.Errorf("formatter %s: Leat loads no Java classes; there are DefaultMessageFormatter, LoggingMessageFormatter and NoOpMessageFormatter", name)
	}
	props, err := x.opts.file("formatter-config")
	if err != nil {
		return nil, err
	}
	given, err := x.opts.properties("property", "formatter-property")
	if err != nil {
		return nil, err
	}
	for k, v := range given {
		props[k] = v
	}
	for flag, prop := range map[string]string{"key-deserializer": "key.deserializer", "value-deserializer": "value.deserializer"} {
		if v := x.opts.value(flag); v != "" {
			props[prop] = v
		}
	}
	f := &recordFormat{value: true, separator: "\t", line: "\n", headersSeparator: ",", null: "null"}
	return f.write, f.configure(props)
}

// recordFormat is how a record is written: columns in a fixed order.
type recordFormat struct {
	timestamp, partition, offset, delivery, headers, key, value bool
	separator, line, headersSeparator, null                     string
	keyText, valueText, headerText                              func([]byte) (string, error) // nil: the bytes themselves
}

func (f *recordFormat) configure(props map[string]string) error {
	for name, field := range map[string]*bool{"print.timestamp": &f.timestamp, "print.partition": &f.partition, "print.offset": &f.offset,
		"print.delivery": &f.delivery, "print.headers": &f.headers, "print.key": &f.key, "print.value": &f.value} {
		if v, ok := props[name]; ok {
			*field = strings.EqualFold(strings.TrimSpace(v), "true")
		}
	}
	for name, field := range map[string]*string{"key.separator": &f.separator, "line.separator": &f.line,
		"headers.separator": &f.headersSeparator, "null.literal": &f.null} {
		if v, ok := props[name]; ok {
			*field = v
		}
	}
	for name, field := range map[string]*func([]byte) (string, error){"key.deserializer": &f.keyText, "value.deserializer": &f.valueText,
		"headers.deserializer": &f.headerText} {
		if v, ok := props[name]; ok {
			d, err := deserializer(v)
			if err != nil {
				return err
			}
			*field = d
		}
	}
	return nil
}

func (f *recordFormat) write(w io.Writer, r *kgo.Record) error {
	var columns []string
	if f.timestamp {
		kind := "CreateTime"
		if r.Attrs.TimestampType() == 1 {
			kind = "LogAppendTime"
		}
		columns = append(columns, kind+":"+strconv.FormatInt(r.Timestamp.UnixMilli(), 10))
	}
	if f.partition {
		columns = append(columns, "Partition:"+strconv.Itoa(int(r.Partition)))
	}
	if f.offset {
		columns = append(columns, "Offset:"+strconv.FormatInt(r.Offset, 10))
	}
	if f.delivery {
		columns = append(columns, "Delivery:NONE")
	}
	if f.headers {
		text, err := f.headerColumn(r.Headers)
		if err != nil {
			return err
		}
		columns = append(columns, text)
	}
	for _, c := range []struct {
		show bool
		data []byte
		text func([]byte) (string, error)
	}{{f.key, r.Key, f.keyText}, {f.value, r.Value, f.valueText}} {
		if !c.show {
			continue
		}
		text, err := f.text(c.data, c.text)
		if err != nil {
			return err
		}
		columns = append(columns, text)
	}
	if len(columns) == 0 {
		return nil
	}
	return write(w, strings.Join(columns, f.separator)+f.line)
}

func (f *recordFormat) headerColumn(headers []kgo.RecordHeader) (string, error) {
	if len(headers) == 0 {
		return "NO_HEADERS", nil
	}
	parts := make([]string, len(headers))
	for i, h := range headers {
		text, err := f.text(h.Value, f.headerText)
		if err != nil {
			return "", err
		}
		parts[i] = h.Key + ":" + text
	}
	return strings.Join(parts, f.headersSeparator), nil
}

func (f *recordFormat) text(data []byte, fn func([]byte) (string, error)) (string, error) {
	switch {
	case data == nil:
		return f.null, nil
	case fn == nil:
		return string(data), nil
	}
	return fn(data)
}

// deserializer finds what one of Kafka's deserializers makes of bytes.
func deserializer(class string) (func([]byte) (string, error), error) {
	name := strings.TrimSuffix(class[strings.LastIndexAny(class, ".$")+1:], "Deserializer")
	number := func(size int, text func(uint64) string) func([]byte) (string, error) {
		return func(b []byte) (string, error) {
			if len(b) != size {
				return "", kafkaSays("Size of data received by %sDeserializer is not %d", name, size)
			}
			var n uint64
			for _, x := range b {
				n = n<<8 | uint64(x)
			}
			return text(n), nil
		}
	}
	switch name {
	case "String", "ByteArray", "ByteBuffer", "Bytes":
		return func(b []byte) (string, error) { return string(b), nil }, nil
	case "Long":
		return number(8, func(n uint64) string { return strconv.FormatInt(int64(n), 10) }), nil
	case "Integer":
		return number(4, func(n uint64) string { return strconv.FormatInt(int64(int32(n)), 10) }), nil
	case "Short":
		return number(2, func(n uint64) string { return strconv.FormatInt(int64(int16(n)), 10) }), nil
	case "Double":
		return number(8, func(n uint64) string { return javaFloat(math.Float64frombits(n), 64) }), nil
	case "Float":
		return number(4, func(n uint64) string { return javaFloat(float64(math.Float32frombits(uint32(n))), 32) }), nil
	case "Boolean":
		return number(1, func(n uint64) string { return strconv.FormatBool(n == 1) }), nil
	case "UUID":
		return func(b []byte) (string, error) { return string(b), nil }, nil
	case "Void":
		return func([]byte) (string, error) { return "null", nil }, nil
	}
	return nil, fmt.Errorf("deserializer %s: Leat loads no Java classes; there are those of org.apache.kafka.common.serialization", class)
}

// javaFloat writes a number as Java does, roughly: plain near 1, else with E.
func javaFloat(f float64, bits int) string {
	if a := math.Abs(f); a == 0 || a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, bits)
		if !strings.ContainsAny(s, ".") {
			s += ".0"
		}
		return s
	}
	s := strconv.FormatFloat(f, 'E', -1, bits)
	s = strings.Replace(s, "E+0", "E", 1)
	s = strings.Replace(s, "E+", "E", 1)
	return strings.Replace(s, "E-0", "E-", 1)
}
