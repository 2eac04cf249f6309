package record

import "fmt"

// Codec is a compression type, by its value in the attributes. CodecNone is
// "uncompressed" in compression.type.
type Codec int8

// The codecs that exist.
const (
	CodecNone   Codec = 0
	CodecGzip   Codec = 1
	CodecSnappy Codec = 2
	CodecLZ4    Codec = 3
	CodecZstd   Codec = 4
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// Known tells whether the codec exists.
func (c Codec) Known() bool { return c >= CodecNone && c <= CodecZstd }

// String is the codec's name in Kafka's tools.
func (c Codec) String() string {
	if c.Known() {
		return codecNames[c]
	}
	return fmt.Sprintf("codec(%d)", int8(c))
}

// ParseCodec is the codec of a name; "uncompressed" is another name for none.
func ParseCodec(name string) (Codec, bool) {
	if name == "uncompressed" {
		return CodecNone, true
	}
	for i, n := range codecNames {
		if n == name {
			return Codec(i), true
		}
	}
	return 0, false
}

// Compression is a codec with its level, in the numbers of compression.*.level
// (gzip 1–9, lz4 1–17, zstd up to 22). Level 0 is the codec's default.
type Compression struct {
	Codec Codec
	Level int
}

func unknownCodec(c Codec) error { return fmt.Errorf("%w: %d", ErrCodec, int8(c)) }
