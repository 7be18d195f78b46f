package api

import (
	"bytes"
	"encoding/csv"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// writeCSV writes rows, a slice of structs, as RFC 4180 has it: the names of the columns,
// and a line for each row.
func writeCSV(b *bytes.Buffer, rows any) error {
	w := csv.NewWriter(b)
	w.UseCRLF = true
	all := reflect.ValueOf(rows)
	columns := columnsOf(all.Type().Elem(), "", nil)
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = c.name
	}
	if err := w.Write(line); err != nil {
		return err
	}
	for row := range all.Len() {
		for i, c := range columns {
			line[i] = cell(all.Index(row).FieldByIndex(c.index))
		}
		if err := w.Write(line); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// A column is a field of the rows, or of a struct in them.
type column struct {
	name  string // those of JSON on the way to it, joined by _
	index []int
}

func columnsOf(row reflect.Type, prefix string, index []int) (columns []column) {
	for i := range row.NumField() {
		field := row.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		at := append(slices.Clone(index), i)
		switch {
		case field.Type.Kind() != reflect.Struct || field.Type == reflect.TypeFor[time.Time]():
			columns = append(columns, column{prefix + name, at})
		case field.Anonymous:
			columns = append(columns, columnsOf(field.Type, prefix, at)...)
		default:
			columns = append(columns, columnsOf(field.Type, prefix+name+"_", at)...)
		}
	}
	return columns
}

// cell is a value as JSON has it: numbers are the same, texts are without quotes, and what
// is null is empty. A list is its elements, divided by spaces.
func cell(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return guarded(v.String())
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return cell(v.Elem())
	case reflect.Slice:
		cells := make([]string, v.Len())
		for i := range cells {
			cells[i] = cell(v.Index(i))
		}
		return strings.Join(cells, " ")
	default:
		return v.Interface().(time.Time).Format(time.RFC3339Nano)
	}
}

// guarded keeps spreadsheets from taking a text that somebody sent for a formula.
func guarded(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}
