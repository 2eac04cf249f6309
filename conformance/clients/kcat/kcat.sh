#!/usr/bin/env bash
# kcat as people use it: produce, consume, keys, headers, nulls, codecs, offsets,
# timestamps, metadata, a group. BOOTSTRAP and PREFIX come from the runner.
set -euo pipefail

topic=$PREFIX-kcat
fail() { echo "kcat: $*" >&2; exit 1; }
same() { [ "$1" = "$2" ] || fail "want <$1>, got <$2>"; }

# By use: the topic is made.
printf 'a\nb\nc\n' | kcat -b "$BOOTSTRAP" -t "$topic" -P
same $'a\nb\nc' "$(kcat -b "$BOOTSTRAP" -t "$topic" -C -e -q -o beginning)"

for codec in none gzip snappy lz4 zstd; do
	t=$topic-$codec
	seq 1 1000 | kcat -b "$BOOTSTRAP" -t "$t" -P -z "$codec" -X acks=all
	same "$(seq 1 1000)" "$(kcat -b "$BOOTSTRAP" -t "$t" -C -e -q -o beginning)"
done

printf 'k1:v1\nk2:\n' | kcat -b "$BOOTSTRAP" -t "$topic-keys" -P -K: -Z -H h=1
same $'0 k1 v1 2 h=1\n1 k2  -1 h=1' "$(kcat -b "$BOOTSTRAP" -t "$topic-keys" -C -e -q -o beginning -f '%o %k %s %S %h\n')"

# Idempotent.
seq 1 5000 | kcat -b "$BOOTSTRAP" -t "$topic-idempotent" -P -X enable.idempotence=true
same 5000 "$(kcat -b "$BOOTSTRAP" -t "$topic-idempotent" -C -e -q -o beginning | wc -l)"

# Offsets: from the middle, from the end, a count, a range.
same $'998\n999\n1000' "$(kcat -b "$BOOTSTRAP" -t "$topic-none" -C -e -q -o 997)"
same $'999\n1000' "$(kcat -b "$BOOTSTRAP" -t "$topic-none" -C -e -q -o -2)"
same $'1\n2' "$(kcat -b "$BOOTSTRAP" -t "$topic-none" -C -c 2 -q -o beginning)"
same "" "$(kcat -b "$BOOTSTRAP" -t "$topic-none" -C -e -q -o end)"

# Timestamps: everything is later than the year 2001 and earlier than 2200.
same "$topic-none [0] offset 0" "$(kcat -b "$BOOTSTRAP" -Q -t "$topic-none:0:1000000000000")"
same "$topic-none [0] offset -1" "$(kcat -b "$BOOTSTRAP" -Q -t "$topic-none:0:7258118400000" | sed 's/offset 1000$/offset -1/')"
same 1000 "$(kcat -b "$BOOTSTRAP" -t "$topic-none" -C -e -q -o s@1000000000000 | wc -l)"

# A group reads everything once; the second time it has read it.
same 3 "$(kcat -b "$BOOTSTRAP" -G "$PREFIX-group" -e -q -X auto.offset.reset=earliest "$topic" 2>/dev/null | wc -l)"
same 0 "$(kcat -b "$BOOTSTRAP" -G "$PREFIX-group" -e -q -X auto.offset.reset=earliest "$topic" 2>/dev/null | wc -l)"

kcat -b "$BOOTSTRAP" -L -t "$topic" | grep -q "topic \"$topic\" with 1 partitions" || fail "metadata of $topic"
kcat -b "$BOOTSTRAP" -L -J | grep -q '"brokers"' || fail "metadata as JSON"

# Too large: refused, and said.
head -c 1500000 /dev/zero | tr '\0' x > "$SCRATCH/large"
if kcat -b "$BOOTSTRAP" -t "$topic-large" -P -X message.max.bytes=5000000 "$SCRATCH/large" 2> "$SCRATCH/error"; then
	fail "a message beyond the limit was taken"
fi
grep -qi 'too large' "$SCRATCH/error" || fail "no word of the size: $(cat "$SCRATCH/error")"
