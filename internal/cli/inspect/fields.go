package inspect

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
)

// readable turns a record's struct into values that read well: ids of 16 bytes in
// Kafka's form, pointers followed, fields by name.
func readable(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return readable(v.Elem())
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				m[f.Name] = readable(v.Field(i))
			}
		}
		return m
	case reflect.Array:
		if id, ok := v.Interface().([16]byte); ok {
			return base64.RawURLEncoding.EncodeToString(id[:])
		}
		fallthrough
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = readable(v.Index(i))
		}
		return list
	}
	return v.Interface()
}

// line writes a record's struct as one line: Name=value in the order of the fields.
func line(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "-"
		}
		return line(v.Elem())
	case reflect.Struct:
		var parts []string
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				parts = append(parts, f.Name+"="+line(v.Field(i)))
			}
		}
		return strings.Join(parts, " ")
	case reflect.Array, reflect.Slice:
		if id, ok := v.Interface().([16]byte); ok {
			return base64.RawURLEncoding.EncodeToString(id[:])
		}
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = line(v.Index(i))
			if v.Index(i).Kind() == reflect.Struct {
				parts[i] = "{" + parts[i] + "}"
			}
		}
		return "[" + strings.Join(parts, " ") + "]"
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v.Interface())
}
