package wire

import (
	"math/rand/v2"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets the fields of a kmsg struct at random, arrays with up to n entries. Tags
// and versions stay as they are.
func fill(v reflect.Value, r *rand.Rand, n int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64N(100) - 1)
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(r.Uint64N(100))
	case reflect.Float64:
		v.SetFloat(r.Float64())
	case reflect.String:
		v.SetString("abcdefghijklmnopqrstuvwxyz"[:r.IntN(27)])
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fillDefault(v)
			fill(v.Elem(), r, n)
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(r.Uint64N(256))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(make([]byte, r.IntN(40)))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(n+1), n+1))
		for i := range v.Len() {
			fillDefault(v.Index(i).Addr())
			fill(v.Index(i), r, n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case f.Type == reflect.TypeFor[kmsg.Tags]():
				if r.IntN(4) == 0 {
					v.Field(i).Addr().Interface().(*kmsg.Tags).Set(uint32(100+r.IntN(100)), make([]byte, r.IntN(9)))
				}
			case f.Name != "Version" || f.Type.Kind() != reflect.Int16:
				fill(v.Field(i), r, n)
			}
		}
	}
}

func fillDefault(v reflect.Value) {
	if d, ok := v.Interface().(interface{ Default() }); ok {
		d.Default()
	}
}

// randomRequest is the encoding of a random valid request.
func randomRequest(key, version int16, r *rand.Rand) []byte {
	req := kmsg.RequestForKey(key)
	fill(reflect.ValueOf(req).Elem(), r, 3)
	req.SetVersion(version)
	return req.AppendTo(nil)
}
